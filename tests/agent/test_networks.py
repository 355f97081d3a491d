"""Eq. 10 to 17 against values computed by hand."""

import math

import pytest
import torch
from plain import small_encoder
from torch import Tensor, nn
from torch.nn import functional

from hsrl_agent.encoder import SASRec
from hsrl_agent.hsrl_network import HSRLNetwork
from hsrl_agent.networks import HierarchicalPolicyNetwork, ItemNetwork, MultiLevelCritic, copy_shared_weights
from hsrl_gym.errors import HsrlError


def small_network(
    encoder: SASRec, codes: Tensor, vocabulary: tuple[int, ...], item_residual: bool = False
) -> HSRLNetwork:
    """Return a network of width 8."""
    policy, critic = HierarchicalPolicyNetwork(8, vocabulary), MultiLevelCritic(8, len(vocabulary), hidden=(4,))
    return HSRLNetwork(encoder, policy, critic, codes, item_residual)


def test_policy_by_hand() -> None:
    """Two levels of two tokens in width 2, with weights whose softmax can be done on paper."""
    net = HierarchicalPolicyNetwork(2, (2, 2))
    with torch.no_grad():
        net.heads[0].weight.copy_(torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]]))
        net.heads[0].bias.zero_()
        net.tokens[0].copy_(torch.tensor([[4.0, 0.0], [0.0, 8.0]]))
        net.heads[1].weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
        net.heads[1].bias.zero_()
    log_probs, contexts = net(torch.tensor([[1.0, 2.0]]))
    torch.testing.assert_close(log_probs[0].exp(), torch.tensor([[0.75, 0.25]]))  # softmax(log 3, 0), eq. 11
    # e_1 = 0.75 (4, 0) + 0.25 (0, 8) = (3, 2), eq. 12; c_0 - e_1 = (-2, 0), whose LayerNorm is (-1, 1), eq. 13
    torch.testing.assert_close(contexts[0, 1], torch.tensor([-1.0, 1.0]), atol=1e-4, rtol=0.0)
    expected = torch.tensor([[0.0, -1.0]]).log_softmax(-1)
    torch.testing.assert_close(log_probs[1], expected, atol=1e-4, rtol=0.0)
    assert contexts.shape == (1, 3, 2)


def test_flat_policy_puts_every_head_on_the_first_context() -> None:
    torch.manual_seed(0)
    net = HierarchicalPolicyNetwork(4, (3, 3), hierarchical=False)
    state = torch.randn(2, 4)
    log_probs, contexts = net(state)
    torch.testing.assert_close(contexts, state.unsqueeze(1).expand(2, 3, 4))
    torch.testing.assert_close(log_probs[1], functional.log_softmax(net.heads[1](state), -1))


def test_tied_heads_by_hand() -> None:
    """Logits are c . (M C[z] + free[z]) + b[z] with one M for all levels: here M doubles what centroids say."""
    centroids = [torch.tensor([[1.0], [3.0]]), torch.tensor([[0.5], [0.0]])]
    net = HierarchicalPolicyNetwork(1, (2, 2), centroids=centroids)
    assert net.heads[0].projection is net.heads[1].projection
    with torch.no_grad():
        net.heads[0].projection.weight.fill_(2.0)
        net.heads[0].free[1] = 0.5
        net.heads[1].bias[0] = 7.0
    context = torch.tensor([[10.0]])
    torch.testing.assert_close(net.heads[0](context), torch.tensor([[20.0, 65.0]]))  # 10 (2 * 3 + 0.5)
    torch.testing.assert_close(net.heads[1](context), torch.tensor([[17.0, 0.0]]))  # 10 * 2 * 0.5 + 7


def test_tied_heads_start_near_uniform_and_score_near_items_alike() -> None:
    torch.manual_seed(0)
    centroids = [torch.randn(64, 32) for _ in range(2)]
    centroids[0][1] = centroids[0][0] + 0.01
    net = HierarchicalPolicyNetwork(32, (64, 64), centroids=centroids)
    state = functional.layer_norm(torch.randn(100, 32), (32,))
    log_probs, _ = net(state)
    assert log_probs[0].exp().max() < 3 / 64
    near, far = (log_probs[0][:, 0] - log_probs[0][:, other] for other in (1, 2))
    assert near.abs().mean() < 0.05 * far.abs().mean()


def test_a_critic_that_privileged_critic() -> None:
    """f(c, log(1 + patience)) = 2 c + 3 log(1 + patience) + 1 at every level; gone is gone, whatever is below zero."""
    net = MultiLevelCritic(1, 1, hidden=(), privileged=True)
    with torch.no_grad():
        net.value[0].weight.copy_(torch.tensor([[2.0, 3.0]]))
        net.value[0].bias.fill_(1.0)
    contexts = torch.tensor([[[0.0], [1.0]], [[0.0], [1.0]]])
    _, per_level = net(contexts, torch.tensor([math.e - 1.0, -4.0]))
    torch.testing.assert_close(per_level, torch.tensor([[4.0, 6.0], [1.0, 3.0]]))
    torch.testing.assert_close(net(contexts)[1], torch.tensor([[1.0, 3.0], [1.0, 3.0]]))


def test_critic_by_hand() -> None:
    net = MultiLevelCritic(1, 2, hidden=())
    with torch.no_grad():
        net.value[0].weight.fill_(2.0)
        net.value[0].bias.fill_(1.0)
        net.level_logits.copy_(torch.tensor([math.log(2.0), math.log(1.0), math.log(1.0)]))
    value, per_level = net(torch.tensor([[[0.0], [1.0], [3.0]]]))
    torch.testing.assert_close(per_level, torch.tensor([[1.0, 3.0, 7.0]]))  # f(c) = 2 c + 1, eq. 15
    torch.testing.assert_close(value, torch.tensor([0.5 * 1.0 + 0.25 * 3.0 + 0.25 * 7.0]))  # eq. 17


def test_level_weights_are_trained_unless_there_is_one_level() -> None:
    contexts = torch.randn(4, 3, 5)
    net = MultiLevelCritic(5, 2)
    net(contexts)[0].sum().backward()
    assert net.level_logits.grad is not None
    assert net.level_logits.grad.abs().sum() > 0
    single = MultiLevelCritic(5, 2, multi_level=False)
    value, per_level = single(contexts)
    torch.testing.assert_close(value, per_level[:, 0])
    assert not single.level_logits.requires_grad


def test_item_scores_add_the_log_probabilities_of_the_tokens() -> None:
    codes = torch.tensor([[-1, -1], [0, 1], [1, 0], [-1, -1], [1, 1]])
    net = small_network(small_encoder(4), codes, (2, 2))
    plan = net(torch.randn(3, 2), torch.tensor([[0, 0, 0, 1, 2]] * 3))
    scores = net.item_scores(plan)
    first, second = plan.log_probs
    torch.testing.assert_close(scores[:, 0], first[:, 0] + second[:, 1])  # item 1 is (0, 1), eq. 14
    torch.testing.assert_close(scores[:, 3], first[:, 1] + second[:, 1])  # item 4 is (1, 1)
    assert (scores[:, 2] == -torch.inf).all()  # item 3 is retired


def test_item_network_scores_by_features() -> None:
    net = ItemNetwork(small_encoder(4), torch.tensor([True, True, False, True]), width=8)
    scores, values = net(torch.randn(2, 2), torch.tensor([[0, 0, 0, 1, 2]] * 2))
    assert scores.shape == (2, 4)
    assert values.shape == (2,)
    assert (scores[:, 2] == -torch.inf).all()


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_dropout_is_off_when_evaluated(dropout: float) -> None:
    net = small_encoder(dropout=dropout).eval()
    profile, history = torch.randn(2, 2), torch.tensor([[0, 1, 2, 3, 4]] * 2)
    torch.testing.assert_close(net(profile, history), net(profile, history))
    net.train()
    assert torch.equal(net(profile, history), net(profile, history)) == (dropout == 0.0)


def test_the_item_residual_by_hand() -> None:
    """Zero at first; then <c_L, W f_i> + <w, f_i> on top of the tokens, f_i the free vector of the encoder."""
    encoder = small_encoder()
    codes = torch.tensor([[-1, -1], [0, 0], [0, 1], [1, 0], [1, 1], [0, 2], [-1, -1]])
    network = small_network(encoder, codes, (2, 3), item_residual=True)
    plan = network(torch.randn(2, 2), torch.tensor([[0, 0, 1, 2, 3], [0, 0, 0, 0, 0]]))
    residual, network.residual = network.residual, None
    tokens_alone = network.item_scores(plan)
    network.residual = residual
    assert residual is not None
    torch.testing.assert_close(network.item_scores(plan), tokens_alone)
    with torch.no_grad():
        residual.weight.normal_()
    free = encoder.item_free.weight
    for user in range(2):
        for item in range(1, 6):
            mapped = residual.weight @ free[item]
            expected = tokens_alone[user, item - 1] + plan.contexts[user, -1] @ mapped[:-1] + mapped[-1]
            torch.testing.assert_close(network.item_scores(plan)[user, item - 1], expected)
    assert network.item_scores(plan)[:, 5].isneginf().all()  # not live


# --- weights of a network that learned on another state of the catalog


def assert_refused(network: nn.Module, learned: nn.Module, message: str) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(HsrlError, match=message):
        copy_shared_weights(network, learned)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


CODES = torch.tensor([[-1, -1], [0, 0], [0, 1], [1, 1]])


def test_weights_of_a_network_of_other_widths_are_refused() -> None:
    network = small_network(small_encoder(3), CODES, (2, 2))
    assert_refused(
        network, small_network(small_encoder(3), CODES, (2, 3)), r"shape \(3,\), expected \(2,\); only items may"
    )
    assert_refused(
        network, small_network(small_encoder(3), CODES, (2, 2), item_residual=True), "expected None; only items"
    )


def test_weights_of_more_items_than_there_are_now_are_refused() -> None:
    more = torch.cat([CODES, torch.tensor([[1, 0]])])
    network, larger = small_network(small_encoder(3), CODES, (2, 2)), small_network(small_encoder(4), more, (2, 2))
    assert_refused(network, larger, r"encoder\.item_free\.weight of shape \(5, 8\), expected \(4, 8\); only items may")
    copy_shared_weights(larger, network)
    assert torch.equal(larger.encoder.free_vectors()[:4], network.encoder.free_vectors())
    assert not larger.encoder.free_vectors()[4].any()


def test_weights_for_tokens_of_another_meaning_are_refused() -> None:
    tables = [torch.tensor([[1.0], [3.0]]), torch.tensor([[0.5], [0.0]])]
    network = HierarchicalPolicyNetwork(8, (2, 2), centroids=tables)
    other = HierarchicalPolicyNetwork(8, (2, 2), centroids=[tables[0], tables[1] + 1.0])
    assert_refused(network, other, r"got a codebook with other centroids \(heads\.1\.centroids\), expected the same")


def test_weights_that_items_share_are_no_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    own = small_encoder(3)
    monkeypatch.setattr("hsrl_agent.encoder.OWN_ROWS", 2)
    assert_refused(own, small_encoder(3), "got catalogs on both sides of")
