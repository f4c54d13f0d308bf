/** A restore drill as it is deployed: its state machine, with the steps of its function, over a real server. */
import { setTimeout as pause } from 'node:timers/promises';
import { type DrillPorts, drill, type DrillVerdict } from '../../../runtime/handlers/vector-drill.lambda';
import type { RecallGate, VectorIndexSchema } from '../../../src/contract';
import { drillDefinition } from '../../../src/vectors/drill-definition';
import { VirtualClock } from '../../support/asl/clock';
import type { Definition } from '../../support/asl/definition';
import { StateMachine } from '../../support/asl/machine';

/** Fails with the error of the execution. */
export async function runDrill(
  ports: Pick<DrillPorts, 'cluster' | 'repository'> & Partial<DrillPorts>, schema: VectorIndexSchema, gate: RecallGate,
): Promise<DrillVerdict> {
  const indexes = [{ schema, layout: { shards: 1, replicas: 0, buildReplicas: 0 }, gate }];
  const definition = drillDefinition({ partition: 'aws', functionArn: 'arn:fn', callSeconds: 900, indexes });
  const machine = new StateMachine(JSON.parse(JSON.stringify({ QueryLanguage: 'JSONata', ...definition })) as Definition);
  const all: DrillPorts = { brain: 'fleet', clock: { now: Date.now }, pause: () => pause(50), emit: () => undefined, ...ports };
  const { status, output, error, cause } = await machine.run({}, {
    clock: new VirtualClock(),
    handlers: { 'lambda:invoke': async ({ Payload }) => ({ Payload: await drill(all, Payload, Infinity) }) },
  });
  if (status !== 'SUCCEEDED') throw Object.assign(new Error(cause), { code: error });
  return (output as unknown as DrillVerdict[])[0];
}
