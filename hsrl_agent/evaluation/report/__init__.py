"""What people see of finished runs: tables, figures and the page. Nothing here decides a result."""
