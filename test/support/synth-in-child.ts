/** `synth-in-child.ts <app> <gate> <outdir>`: synthesizes one app behind one gate; ends non-zero when the gate closes. */
import { App, CfnResource, Stack, Stage } from 'aws-cdk-lib';
import { Preflight } from 'cdk-preflight';
import { createExample, type ChildSynth, type Example } from './examples';
import { createProfile, PROFILES } from './profiles';

const [name, gate, outdir] = process.argv.slice(2) as [ChildSynth['app'], ChildSynth['gate'], string];

// With the flag, findings of the validator are errors; without it they are warnings and a synth succeeds.
const context = gate === 'none' ? {} : { '@aws-cdk/core:validateAgainstDefaultRules': true };

/** Apps that a gate must refuse: they prove that it is closed. */
const SEEDED: { [app: string]: (app: App) => void } = {
  'seeded-schema-error': (app) => {
    new CfnResource(new Stack(app, 'Seeded'), 'Bucket', { type: 'AWS::S3::Bucket', properties: { BucketNam: 'misspelt' } });
  },
  'seeded-deploy-error': (app) => idleTimeoutBeyondTheLimit(new Stack(app, 'Seeded')),
  'seeded-deploy-error-in-stage': (app) => idleTimeoutBeyondTheLimit(new Stack(new Stage(app, 'Stage'), 'Seeded')),
};

function idleTimeoutBeyondTheLimit(stack: Stack): void {
  new CfnResource(stack, 'Balancer', {
    type: 'AWS::ElasticLoadBalancingV2::LoadBalancer',
    properties: { Scheme: 'internal', LoadBalancerAttributes: [{ Key: 'idle_timeout.timeout_seconds', Value: '5000' }] },
  });
}

async function main(): Promise<void> {
  let app: App;
  const profile = PROFILES.find((each) => name === `profile-${each}`);
  if (SEEDED[name]) {
    app = new App({ outdir, context });
    SEEDED[name](app);
  } else if (profile) {
    app = createProfile(profile, outdir, context);
  } else {
    app = await createExample(name as Example, outdir, context);
  }
  if (gate === 'preflight') Preflight.apply(app);
  app.synth();
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
