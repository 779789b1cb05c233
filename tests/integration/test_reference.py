"""The status record has the fields that docs/reference.md names."""

from db import jobs
from worker.lab.reference import STAGE_FIELDS, STATUS_FIELDS
from worker.queue.intake import stage_specs


def test_the_status_record_has_the_documented_fields(database):
    jobs.submit("job", person_key="p", cloth_key="c", options={}, stages=stage_specs())
    record = jobs.status("job")
    assert list(record) == list(STATUS_FIELDS)
    assert [list(stage) for stage in record["stages"]] == [list(STAGE_FIELDS)] * len(record["stages"])
