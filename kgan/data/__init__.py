"""Where sounds come from (`notes`, `nsynth`, `folder`), how they are kept (`shards`), how they reach a step (`pipeline`)."""
