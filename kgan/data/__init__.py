"""Where sounds come from (`notes`, `folder`) and how they reach a training step (`pipeline`)."""
