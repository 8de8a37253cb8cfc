import pytest

from bench.ingest import in_turn
from bench.peers.configurations import configurations
from bench.peers.figures import (
    Goal,
    Results,
    cold,
    cpu_per_thousand,
    goals,
    marginal,
    markdown,
    tables,
)


def run(samples=4000, wall=10.0, seconds=8.0, cpu=20.0, peak=1.0, passes=1):
    return {
        "samples": samples,
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "peak_gb": peak,
        "passes": passes,
        "answer": {
            "seconds": [seconds],
            "first_seconds": 1.5,
            "samples_per_second": samples / seconds,
        },
    }


def test_the_marginal_rate_leaves_out_what_both_runs_pay():
    start_up = 5.0
    small, large = run(4000, start_up + 4.0), run(16000, start_up + 16.0)
    assert marginal(small, large) == pytest.approx(1000)
    assert cold(large) == pytest.approx(16000 / 21)


def test_cpu_seconds_are_those_of_each_pass():
    assert cpu_per_thousand(run(cpu=40.0, passes=2)) == pytest.approx(5.0)


def test_a_round_without_one_of_the_two_says_nothing_of_their_ratio():
    goal = Goal("ours / theirs", lambda r: cold(r["ours"]) / cold(r["theirs"]), 2.0)
    results = Results(
        [
            {"ours": run(wall=1.0), "theirs": run(wall=2.5)},
            {"ours": run(wall=1.0)},
            {"ours": run(wall=2.0), "theirs": run(wall=3.0)},
            {"ours": run(wall=1.0), "theirs": run(wall=4.0)},
        ]
    )
    found = goal.judge(results)
    assert found["values"] == pytest.approx([2.5, 1.5, 4.0])
    assert found["median"] == pytest.approx(2.5)
    assert found["reached"] is True


def test_every_goal_reads_configurations_that_there_are():
    names = {each.name for each in configurations()}
    everything = Results([{name: run(4000 if "x4" not in name else 16000) for name in names}])
    # The runs differ in their samples alone, so no marginal rate divides by zero.
    everything.rounds[0]["job-x4"]["wall_seconds"] = 30.0
    everything.rounds[0]["write-job-x4"]["wall_seconds"] = 30.0
    everything.rounds[0]["batches-x4"]["wall_seconds"] = 30.0
    assert all(goal.judge(everything)["median"] is not None for goal in goals())
    assert "\n".join(tables(everything, list(configurations()))).count("failed") == 0


def test_what_failed_is_left_out_of_the_tables_in_words():
    assert any("failed or left out" in line for line in tables(Results([{}]), [*configurations()]))


def test_names_are_unique():
    names = [each.name for each in configurations()]
    assert len(names) == len(set(names))


def test_the_table_compares_batches_with_batches_and_gives_every_ratio_its_range():
    """Ours is twice as fast cold and falls short warm; a job that throws its samples away is in no ratio."""
    rounds = [
        {
            "job": run(wall=0.1, seconds=0.1),
            "batches": run(wall=5.0),
            "batches-warm": run(seconds=8.0, passes=2),
            "webdataset": run(wall=theirs),
            "webdataset-warm": run(seconds=4.0, passes=2),
        }
        for theirs in (10.0, 5.0, 20.0)
    ]
    known = [each for each in configurations() if each.name in rounds[0]]
    lines = list(markdown(Results(rounds), known, "commit abc"))
    assert "Median of 3 rounds" in lines[0]
    assert "commit abc" in lines[0]
    ours, theirs = lines[4:]
    assert ours.startswith("| decoded batches to a consumer | 800 (800-800) | 500 (500-500) |")
    assert theirs.startswith("| webdataset + DataLoader")
    assert theirs.endswith("| 2.00 (1.00-4.00) | 0.50 (0.50-0.50) |")
    assert len({line.count("|") for line in lines[2:]}) == 1


def test_each_round_has_another_order_of_the_same_configurations():
    everything = list(configurations())
    orders = [[each.name for each in in_turn(everything, n, 3, seed=1)] for n in range(3)]
    assert len({tuple(order) for order in orders}) == 3
    assert len({order[0] for order in orders}) == 3
    assert [sorted(order) for order in orders] == [sorted(each.name for each in everything)] * 3
    again = [each.name for each in in_turn(everything, 0, 3, seed=1)]
    assert again == orders[0]
    assert [each.name for each in in_turn(everything, 0, 3, seed=2)] != again
