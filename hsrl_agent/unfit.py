"""What algorithms ask of a policy that slates cannot give: one clear line instead of an error from deep inside."""

from __future__ import annotations

from typing import Any, NoReturn

from hsrl_gym.errors import HsrlError


class NotForEveryAlgorithm:
    """Mixin of the slate policies, which fit HSRL, A2C and PPO."""

    def get_distribution(self, obs: Any) -> NoReturn:
        """Refuse what TRPO asks for.

        Raises:
            HsrlError: always.
        """
        raise HsrlError(
            f"got {type(self).__name__} in an algorithm that compares action distributions (TRPO): the KL divergence "
            'of slates drawn without replacement has no closed form. Use HSRL, A2C or PPO, or "MultiInputPolicy" with '
            "SASRecExtractor."
        )

    @property
    def lstm_actor(self) -> NoReturn:
        """Refuse what RecurrentPPO asks for.

        Raises:
            HsrlError: always.
        """
        raise HsrlError(
            f"got {type(self).__name__} in RecurrentPPO, expected a policy with an LSTM. The history is in the "
            'observation: use HSRL, A2C or PPO, or "MultiInputLstmPolicy" with SASRecExtractor.'
        )
