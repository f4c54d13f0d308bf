import { IConstruct } from 'constructs';
import { IWorkload } from '../../security/workload';

/** Offline tables, as Athena reads them. */
export interface IOfflineSource extends IConstruct {
  /** The Glue database that holds them. */
  readonly databaseName: string;

  /** The workgroup that queries run in. */
  readonly workGroupName: string;

  /** Lets a workload query the tables, and tells it where they are. */
  connectReader(workload: IWorkload): void;
}
