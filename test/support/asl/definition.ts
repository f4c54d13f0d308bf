/** Amazon States Language, as far as our machines use it: JSONata only. */

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export interface JsonObject {
  [name: string]: Json;
}

export interface Retrier {
  readonly ErrorEquals: string[];
  readonly IntervalSeconds?: number;
  readonly MaxAttempts?: number;
  readonly BackoffRate?: number;
  readonly MaxDelaySeconds?: number;
  readonly JitterStrategy?: 'FULL' | 'NONE';
}

export interface Catcher {
  readonly ErrorEquals: string[];
  readonly Next: string;
  readonly Output?: Json;
  readonly Assign?: JsonObject;
}

export interface ChoiceRule {
  readonly Condition: string;
  readonly Next: string;
  readonly Output?: Json;
  readonly Assign?: JsonObject;
}

export interface States {
  readonly StartAt: string;
  readonly States: Readonly<Record<string, State>>;
}

export interface Definition extends States {
  readonly QueryLanguage?: string;
  readonly TimeoutSeconds?: number;
}

export interface ItemProcessor extends States {
  readonly ProcessorConfig?: { readonly Mode?: 'INLINE' | 'DISTRIBUTED'; readonly ExecutionType?: 'STANDARD' | 'EXPRESS' };
}

/** All fields of all types of states: each type reads its own, and `asl-validator` refuses the rest. */
export interface State {
  readonly Type: 'Task' | 'Pass' | 'Choice' | 'Wait' | 'Map' | 'Parallel' | 'Succeed' | 'Fail';
  readonly QueryLanguage?: string;
  readonly Next?: string;
  readonly End?: boolean;
  readonly Output?: Json;
  readonly Assign?: JsonObject;
  readonly Retry?: Retrier[];
  readonly Catch?: Catcher[];
  readonly Resource?: string;
  readonly Arguments?: Json;
  readonly TimeoutSeconds?: number | string;
  readonly HeartbeatSeconds?: number | string;
  readonly Choices?: ChoiceRule[];
  readonly Default?: string;
  readonly Seconds?: number | string;
  readonly Timestamp?: string;
  readonly Error?: string;
  readonly Cause?: string;
  readonly Branches?: States[];
  readonly Items?: Json;
  readonly ItemSelector?: Json;
  readonly ItemProcessor?: ItemProcessor;
  readonly ItemReader?: { readonly Resource: string; readonly Arguments?: Json; readonly ReaderConfig?: JsonObject };
  readonly ItemBatcher?: {
    readonly MaxItemsPerBatch?: number | string; readonly MaxInputBytesPerBatch?: number | string; readonly BatchInput?: Json;
  };
  readonly ResultWriter?: { readonly Resource?: string; readonly Arguments?: Json; readonly WriterConfig?: JsonObject };
  readonly MaxConcurrency?: number | string;
  readonly ToleratedFailurePercentage?: number | string;
  readonly ToleratedFailureCount?: number | string;
}

const PSEUDO: Readonly<Record<string, string>> = {
  'AWS::Partition': 'aws', 'AWS::Region': 'eu-central-1', 'AWS::AccountId': '111122223333', 'AWS::URLSuffix': 'amazonaws.com',
};

/** A synthesized template, as far as it is read here. */
export interface Template {
  readonly Resources?: Readonly<Record<string, { readonly Type: string; readonly Properties?: Readonly<Record<string, unknown>> }>>;
}

/** The text that CloudFormation would make of a value; a resource becomes its logical id, and an attribute `<id>.<attribute>`. */
export function resolved(value: unknown): string {
  if (typeof value === 'string') return value;
  const [[kind, of]] = Object.entries(value as Record<string, unknown>);
  if (kind === 'Ref') return PSEUDO[of as string] ?? of as string;
  if (kind === 'Fn::GetAtt') return (of as string[]).join('.');
  if (kind === 'Fn::ImportValue') return resolved(of);
  if (kind === 'Fn::Join') {
    const [by, parts] = of as [string, unknown[]];
    return parts.map(resolved).join(by);
  }
  throw new Error(`a definition with ${kind} is not known here`);
}

/** The definition of a state machine in a template. */
export function definitionOf(template: Template, logicalId: string): Definition {
  const machine = template.Resources?.[logicalId];
  if (machine?.Type !== 'AWS::StepFunctions::StateMachine') throw new Error(`${logicalId} is no state machine`);
  return JSON.parse(resolved(machine.Properties!.DefinitionString)) as Definition;
}
