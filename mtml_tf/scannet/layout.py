"""The files of a raw ScanNet v2 download: their names, and an annotated object in them.

<scannet_dir>/scannetv2-labels.combined.tsv
<scannet_dir>/scannetv2_train.txt, _val.txt, _test.txt     (or in Tasks/Benchmark/)
<scannet_dir>/scans/<scene>/<scene>_vh_clean_2.ply         mesh of the benchmark
<scannet_dir>/scans/<scene>/<scene>_vh_clean_2.labels.ply  the same with a label a vertex
<scannet_dir>/scans/<scene>/<scene>_vh_clean_2.0.010000.segs.json
<scannet_dir>/scans/<scene>/<scene>.aggregation.json
<scannet_dir>/scans/<scene>/<scene>.txt
<scannet_dir>/scans_test/<scene>/<scene>_vh_clean_2.ply

Every program that reads or writes this layout takes the names from here.
"""

import dataclasses

SCANS, TEST_SCANS = "scans", "scans_test"
LABEL_TABLE = "scannetv2-labels.combined.tsv"
SPLIT_LIST = "scannetv2_{split}.txt"
SPLIT_FOLDERS = ("", "Tasks/Benchmark")
TEST_SPLIT = "test"

MESH = "{scene}_vh_clean_2.ply"
LABELS_MESH = "{scene}_vh_clean_2.labels.ply"
SEGMENTS = "{scene}_vh_clean_2.0.010000.segs.json"
# Not `{scene}_vh_clean.aggregation.json`, whose segments are those of the full-resolution mesh.
AGGREGATION = "{scene}.aggregation.json"
DESCRIPTION = "{scene}.txt"

# In the order of the real table; `raw_category` and `nyu40id` are what is read.
TABLE_COLUMNS = (
    "id",
    "raw_category",
    "category",
    "count",
    "nyu40id",
    "eigen13id",
    "nyuClass",
    "nyu40class",
    "eigen13class",
    "ModelNet40",
    "ModelNet10",
    "ShapeNetCore55",
    "synsetoffset",
    "wnsynsetid",
    "wnsynsetkey",
    "mpcat40index",
    "mpcat40",
)


@dataclasses.dataclass(frozen=True, eq=False)
class RawGroup:
    """One annotated object.

    Attributes:
        object_id: from 0 on; the benchmark's instance is one more.
        label: raw category name, a key of the label table.
        segments: ids of the segments that make the object.
    """

    object_id: int
    label: str
    segments: tuple[int, ...]
