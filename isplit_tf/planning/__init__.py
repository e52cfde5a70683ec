"""Whether a split is worth it, and which one: a plan from measurements of the device, the server and the link."""
