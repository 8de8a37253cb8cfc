from pathlib import Path

from pipeline.engine.cluster.package import PROJECT, working_dir


def test_code_and_a_configuration_from_outside_travel_together(tmp_path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("run: s3://bucket/x\n")
    with working_dir(config) as (folder, place):
        assert (folder / place).read_text() == config.read_text()
        assert (folder / "pipeline" / "engine" / "cluster" / "package.py").is_file()
        assert (folder / "jobs" / "submit.py").is_file()
        assert not list(folder.rglob("__pycache__"))
    assert not folder.exists()


def test_a_configuration_inside_keeps_its_place(tmp_path) -> None:
    with working_dir(Path(PROJECT / "pyproject.toml")) as (folder, place):
        assert place == "pyproject.toml"
        assert (folder / place).is_file()
