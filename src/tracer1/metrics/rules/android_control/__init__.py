"""Rules under which AndroidControl is scored. They differ by up to 12 points on the same answers: say which one a number is from."""
