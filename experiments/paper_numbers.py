"""What the paper prints in its tables."""

# Table 1: AP50 in percent of the five toy objects, in the order of their class ids.
TABLE_1 = {
    "connected_components": (92.5, 85.1, 86.9, 93.5, 79.9),
    "fe_only": (97.3, 92.7, 95.0, 96.4, 95.2),
    "multi_task": (98.0, 93.5, 96.1, 96.6, 95.3),
}
