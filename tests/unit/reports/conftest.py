import pytest
from report_fixture import make_report_data


@pytest.fixture(scope="session")
def report_data():
    """A finished run; tests replace what they want to see."""
    return make_report_data()
