"""Random plans: what they are made of, how a failing one is made small, and the tests that run a thousand of them."""
