import { IRole } from 'aws-cdk-lib/aws-iam';
import { IConstruct } from 'constructs';

/**
 * Something that runs in the brain: an identity, and a place for the physical names that it needs.
 *
 * Whoever owns a resource connects workloads to it (`features.connectReader(workload)`), so that the
 * permission and the configuration travel together.
 */
export interface IWorkload extends IConstruct {
  /** PascalCase; stands in the ids of the policies that others make for this workload. */
  readonly workloadName: string;

  /** The role that its pods (or its Lambda function) assume. */
  readonly role: IRole;

  /** Gives the workload a physical name, under a key of `contract/names.ts`' `Binding`. */
  addBinding(name: string, value: string): void;
}
