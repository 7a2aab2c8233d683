"""One file for each strategy; `strategy.config` finds them by themselves."""
