"""A feature view of 20 users with 10 features, in SQLite. `repo.py` in an empty folder makes the repository and fills the online store."""
import datetime

import pandas
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.repo_config import RepoConfig
from feast.types import Float32

NAMES = [f"f{at}" for at in range(10)]
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)

with open("feature_store.yaml", "w") as file:
    file.write(
        "project: bench\nregistry: registry.db\nprovider: local\nonline_store:\n  type: sqlite\n  path: online.db\noffline_store:\n  type: file\n"
        "entity_key_serialization_version: 3\n"
    )

frame = pandas.DataFrame({"user": range(20), "event_timestamp": NOW, **{name: [user + at / 10 for user in range(20)] for at, name in enumerate(NAMES)}})
frame = frame.astype({name: "float32" for name in NAMES})
frame.to_parquet("users.parquet")

user = Entity(name="user", join_keys=["user"], value_type=ValueType.INT64)
view = FeatureView(
    name="users",
    entities=[user],
    ttl=datetime.timedelta(days=0),
    schema=[Field(name=name, dtype=Float32) for name in NAMES],
    source=FileSource(path="users.parquet", timestamp_field="event_timestamp"),
    online=True,
)
store = FeatureStore(repo_path=".")
store.apply([user, view])
store.write_to_online_store("users", frame)
