"""The OSWorld adapter's inside: tasks, commands, what metrics need, our agent for its runner. Private: use `environments.osworld`."""
