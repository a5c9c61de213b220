"""The AndroidWorld adapter's inside: actions, devices, our agent for its runner, tallies. Private: use `environments.android_world`."""
