import { CustomResource, Duration } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { BrainFunction, BrainFunctionProps } from './brain-function';

export interface HandlerResourceProps extends BrainFunctionProps {
  /** PascalCase; the type in the template is `Custom::Thalos<name>`. */
  readonly resourceType: string;
  /** What the handler gets as `ResourceProperties`. */
  readonly properties: { [name: string]: unknown };
}

/** What CloudFormation waits beyond the function's own timeout before it gives up; its default of an hour only delays the bad news. */
const GRACE = Duration.minutes(2);

/** A custom resource behind one small function that answers CloudFormation by itself (`runtime/handlers/custom-resource.ts`). */
export class HandlerResource extends Construct {
  readonly function: BrainFunction;
  readonly resource: CustomResource;

  constructor(scope: Construct, id: string, props: HandlerResourceProps) {
    super(scope, id);
    const timeout = props.timeout ?? Duration.minutes(5);
    this.function = new BrainFunction(this, 'Function', { ...props, timeout });
    this.resource = new CustomResource(this, 'Resource', {
      serviceToken: this.function.functionArn,
      resourceType: `Custom::Thalos${props.resourceType}`,
      properties: props.properties,
      serviceTimeout: timeout.plus(GRACE),
    });
  }
}
