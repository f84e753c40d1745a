import numpy as np

from experiments import paper_numbers, running, table1
from mtml_tf.scoring.average_precision import ApTable


def table(ap50):
    values = np.array(ap50)
    return ApTable((2, 3, 4, 5, 6), tuple("abcde"), values, values, values)


def test_rows_stand_beside_the_papers_numbers():
    rows = table1.table_rows(
        list("abcde"),
        {"connected_components": table([0.5] * 5), "multi_task": table([1, 1, 1, 1, 0.5])},
    )
    assert rows[0] == ["object", "Connected comp.", "paper", "Multi-task", "paper"]
    assert rows[1] == ["a", "50.0", "92.5", "100.0", "98.0"]
    assert rows[5] == ["e", "50.0", "79.9", "50.0", "95.3"]
    assert rows[6] == ["average", "50.0", "87.6", "90.0", "95.9"]


def test_the_papers_average_row_is_the_mean_of_its_objects():
    # The paper's text gives no averages for Table 1; these are the means of its rows.
    means = {name: round(np.mean(row), 2) for name, row in paper_numbers.TABLE_1.items()}
    assert means == {"connected_components": 87.58, "fe_only": 95.32, "multi_task": 95.9}


def test_markdown_has_a_rule_below_the_header():
    text = running.encode_markdown([["a", "b"], ["1", "2"]])
    assert text == "| a | b |\n| --- | ---: |\n| 1 | 2 |"
