"""The maths of policy optimisation: pure tensor functions without config, logging or collectives."""
