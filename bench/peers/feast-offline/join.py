"""Point-in-time joins by Feast's own offline stores, in one process: `join.py <store: file|duckdb> <features.parquet> <labels.parquet>` prints `<seconds> <rows>`
of one join for each line on standard input. The folder that it runs in becomes the repository."""
import datetime
import sys
import time

import pandas
import pyarrow.parquet
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64

store_type, features, labels = sys.argv[1:]
with open("feature_store.yaml", "w") as file:
    file.write(
        f"project: bench\nregistry: registry.db\nprovider: local\nonline_store:\n  type: sqlite\n  path: online.db\noffline_store:\n  type: {store_type}\n"
        "entity_key_serialization_version: 3\n"
    )

names = [name for name in pyarrow.parquet.read_schema(features).names if name.startswith("f")]
user = Entity(name="user", join_keys=["user"], value_type=ValueType.INT64)
view = FeatureView(
    name="users",
    entities=[user],
    ttl=datetime.timedelta(days=0),
    schema=[Field(name=name, dtype=Float64) for name in names],
    source=FileSource(path=features, timestamp_field="event_time", created_timestamp_column="created_time"),
)
store = FeatureStore(repo_path=".")
store.apply([user, view])
frame = pandas.read_parquet(labels).rename(columns={"at": "event_timestamp"})
frame["event_timestamp"] = pandas.to_datetime(frame["event_timestamp"], utc=True)

for _ in sys.stdin:
    start = time.perf_counter()
    joined = store.get_historical_features(entity_df=frame, features=[f"users:{name}" for name in names]).to_df()
    print(time.perf_counter() - start, len(joined), flush=True)
