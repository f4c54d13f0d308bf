/** A whole build in one process: the steps in their order, each until it is done. In AWS a state machine does the same. */
import type { GenerationBuild, StepOutcome } from './generation-build';
import { VECTOR_BUILD_STEPS } from '../../../src/contract';

export interface RunPorts {
  readonly parts: number;
  /** Loads one part to its end. */
  readonly load: (part: number, generation: string) => Promise<void>;
  /** Before a step is looked at again. */
  readonly pause: () => Promise<void>;
}

/** Gives the generation that answers now. A build that failed is left as it is: run it again, or abandon it. */
export async function runBuild(build: GenerationBuild, { parts, load, pause }: RunPorts): Promise<string> {
  const until = (step: () => Promise<StepOutcome>) => async () => {
    while (!(await step()).done) await pause();
  };
  let generation = '';
  const steps: Record<typeof VECTOR_BUILD_STEPS[number], () => Promise<void>> = {
    begin: until(async () => {
      const begun = await build.begin(parts);
      generation = begun.generation;
      return begun;
    }),
    load: async () => {
      for (let part = 0; part < parts; part++) await load(part, generation);
    },
    seal: until(() => build.seal()),
    merge: until(() => build.merge()),
    replicate: until(() => build.replicate()),
    check: until(() => build.check(Infinity)),
    warm: until(() => build.warm()),
    switch: until(() => build.switch()),
    retire: until(() => build.retire()),
  };
  for (const step of VECTOR_BUILD_STEPS) await steps[step]();
  return generation;
}
