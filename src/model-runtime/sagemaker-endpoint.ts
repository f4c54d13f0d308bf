import { Construct } from 'constructs';
import type { IModelRuntime } from './model-runtime';
import { connectToEndpoint, requireEndpointName } from './sagemaker-caller';
import type { RuntimeSection } from '../contract';
import { IWorkload } from '../security/workload';

/** A SageMaker multi-model endpoint of yours, in the account and region of the stack. Nothing of it is made or changed here. */
export class ExistingSageMakerEndpoint extends Construct implements IModelRuntime {
  readonly namespace?: string = undefined;

  /** @param endpointName its name; it holds each version as `<model>/<version>/model.tar.gz` */
  constructor(scope: Construct, id: string, readonly endpointName: string) {
    super(scope, id);
    requireEndpointName(this, endpointName);
  }

  connectCaller(workload: IWorkload): void {
    connectToEndpoint(this, this.endpointName, workload);
  }

  /** @internal */
  _declaration(): RuntimeSection {
    return {};
  }
}
