/** Training sets of the deployed brain, from the command line. */
import { AthenaClient } from '@aws-sdk/client-athena';
import { S3Client } from '@aws-sdk/client-s3';
import { type Arguments, text } from './command';
import { Paths } from '../../src/contract';
import { Athena } from '../adapters/aws/athena';
import { AthenaTrainingSets } from '../adapters/aws/athena-training-sets';
import { S3ObjectStore } from '../adapters/aws/object-store';
import type { DataDirectory } from '../adapters/local/data-directory';
import type { DuckDb } from '../adapters/local/duckdb';
import { writeLabels } from '../adapters/local/labels-table';
import { reject } from '../adapters/local/local-errors';
import type { TrainingSetStore } from '../core/offline/training-sets';

export interface AthenaSets {
  readonly store: TrainingSetStore;
  close(): void;
}

/** Fails with USAGE. */
export function athenaSets(location: string, args: Arguments, db: DuckDb, data: DataDirectory): AthenaSets {
  const database = text(args, 'database') ?? reject('USAGE', 'a training set on S3 needs --database <name>: the Glue database of the offline tables');
  const workGroup = text(args, 'work-group') ?? reject('USAGE', 'a training set on S3 needs --work-group <name>: the work group of Athena that reads the offline tables');
  const bucket = /^s3:\/\/([^/]+)\/.+/.exec(location)?.[1] ?? reject('USAGE', `a training set on S3 is at s3://<bucket>/${Paths.TRAINING_SETS}/<name>, got '${location}'`);
  const [client, objects] = [new AthenaClient({}), new S3Client({})];
  const store = new AthenaTrainingSets({
    athena: new Athena({ client, database, workGroup }),
    objects: new S3ObjectStore(objects, bucket),
    database,
    writeLabels: async (file, target, time, keys) => writeLabels(db, file, target, time, keys),
    folder: data.spill,
  });
  return {
    store,
    close() {
      client.destroy();
      objects.destroy();
    },
  };
}
