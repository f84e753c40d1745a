"""What was measured of real scans of rooms, as `experiments.calibration` prints it.

Of 25 real ScanNet scans of 12 rooms at 10 cm, axes along the walls: 23 of them as subsets of 50,000
points, 2 whole; everything outside the 20 classes is unlabelled. Predicted labels are those of six
published networks for the two whole scans. Counts only, no scan data.
"""

# Median (10 % to 90 %) of the scans.
SCENES = {
    "occupied voxels": "6464 (3676 to 13723)",
    "occupancy of the grid": "0.087 (0.060 to 0.116)",
    "instances of the 18 classes (5 voxels or more)": "16 (9 to 28)",
    "unlabelled share of voxels": "0.14 (0.075 to 0.36)",
    "wall share": "0.25 (0.12 to 0.43)",
    "floor share": "0.20 (0.14 to 0.34)",
    "shorter side, m": "4.8",
    "longer side, m": "7.1",
    "area, m2": "31 (18 to 54)",
}

# Instances a scan; voxels, median (10 % to 90 %); median height in metres; share of instances that
# share a connected component with another of their class; connected pieces of 5 voxels or more.
CLASSES = {
    "cabinet": ("2.3", "180 (54 to 355)", "0.99", "0.26", "1.19"),
    "bed": ("0.4", "585 (537 to 647)", "1.38", "0.00", "2.00"),
    "chair": ("3.0", "115 (77 to 158)", "0.87", "0.36", "1.26"),
    "sofa": ("0.6", "284 (204 to 969)", "0.82", "0.00", "1.07"),
    "table": ("1.6", "111 (49 to 338)", "0.60", "0.31", "1.33"),
    "door": ("2.3", "86 (32 to 219)", "1.93", "0.40", "1.30"),
    "window": ("0.9", "117 (58 to 217)", "1.08", "0.09", "1.43"),
    "picture": ("0.8", "10 (5 to 42)", "0.35", "0.53", "1.05"),
    "counter": ("0.2", "198 (63 to 368)", "0.26", "0.50", "2.17"),
    "desk": ("0.4", "298 (132 to 347)", "0.91", "0.44", "1.44"),
    "curtain": ("0.6", "305 (194 to 845)", "2.01", "1.00", "1.00"),
    "refrigerator": ("0.5", "197 (64 to 297)", "1.80", "0.25", "1.25"),
    "toilet": ("0.1", "92 (89 to 94)", "0.74", "0.00", "1.00"),
    "sink": ("0.8", "67 (22 to 92)", "0.58", "0.05", "1.15"),
    "otherfurniture": ("2.1", "64 (17 to 204)", "0.62", "0.25", "1.04"),
}

# From the best to the worst of the six networks.
LABELS = {
    "mIoU over the classes present": "0.70 to 0.75",
    "accuracy of labelled vertices": "0.89 to 0.91",
    "instances with 90 % of their vertices right or more": "0.61 to 0.71",
    "instances with 50 to 90 %": "0.20 to 0.31",
    "instances with 10 to 50 %": "0.02 to 0.06",
    "instances with under 10 %": "0.04 to 0.08",
    "wrong patches of 50 vertices or more, for 100,000": "21 to 24",
    "wrong patches of 2000 or more, for 100,000": "0.8 to 1.5",
    "share of wrong vertices in patches of 2000 or more": "0.26 to 0.43",
    "share of wrong vertices in patches under 50": "0.08 to 0.10",
    "wrong vertices within 10 cm of a true border": "0.57 to 0.67",
}

# Share of a class's vertices that is called another: of one network (unlabelled: of six).
CONFUSIONS = {
    ("unlabelled", "wall"): "0.32 to 0.47",
    ("unlabelled", "table"): "0.15 to 0.18",
    ("unlabelled", "cabinet"): "0.12 to 0.25",
    ("cabinet", "wall"): "0.11",
    ("chair", "table"): "0.07",
    ("table", "wall"): "0.07",
    ("counter", "cabinet"): "0.14",
    ("counter", "sink"): "0.05",
    ("window", "wall"): "0.09",
    ("refrigerator", "door"): "0.16",
    ("refrigerator", "cabinet"): "0.15",
    ("sink", "cabinet"): "0.40",
    ("otherfurniture", "wall"): "0.18",
    ("otherfurniture", "table"): "0.18",
}

# AP / AP50 / AP25 of the 23 subsets (true labels) or of the whole scans, on voxels of 10 cm.
BASELINES = {
    "connected components, true labels": "0.557 / 0.744 / 0.827",
    "connected components, predicted labels": "0.19 / 0.34 / 0.68 (AP50 of six: 0.34 to 0.62)",
    "segmentation as instance, predicted labels": "0.08 / 0.27 / 0.58",
}
