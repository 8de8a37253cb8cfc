import pytest

from bench.peers.configurations import configurations
from bench.peers.figures import Goal, Results, cold, cpu_per_thousand, goals, marginal, tables


def run(samples=4000, wall=10.0, seconds=8.0, cpu=20.0, peak=1.0, passes=1):
    return {
        "samples": samples,
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "peak_gb": peak,
        "passes": passes,
        "answer": {"seconds": [seconds], "samples_per_second": samples / seconds},
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
