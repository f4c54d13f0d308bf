import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Lazy, Stack, Stage } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { App as ChartApp, Chart, Lazy as ChartLazy } from 'cdk8s';
import { k8s } from 'cdk8s-plus-28';
import { parseAllDocuments } from 'yaml';
import { clusterFixture, clusterIn, manifestObjects } from './fixture';

function chartWith(data: { [key: string]: string }): Chart {
  const chart = new Chart(new ChartApp(), 'test');
  new k8s.KubeConfigMap(chart, 'Data', { metadata: { name: 'data', namespace: 'default' }, data });
  return chart;
}

const yamlOf = (outdir: string, name: string) => readFileSync(join(outdir, 'thalos-brain', 'brain', 'manifests', `${name}.yaml`), 'utf8');

describe('addManifests', () => {
  let outdir: string;
  beforeEach(() => { outdir = mkdtempSync(join(tmpdir(), 'manifests-')); });
  afterEach(() => rmSync(outdir, { recursive: true, force: true }));

  const fixture = () => clusterFixture({}, undefined, { outdir });

  test('applies over what a failed deployment left behind, prunes by the manifest\'s own label, and cannot hang for an hour', () => {
    const { stack, cluster } = fixture();
    cluster.addManifests('some-thing', chartWith({ a: 'b' }));
    Template.fromStack(stack).hasResourceProperties('Custom::AWSCDK-EKS-KubernetesResource', {
      Overwrite: true,
      PruneLabel: 'thalos-brain/manifest=some-thing',
      ServiceTimeout: '960',
    });
    expect(manifestObjects(stack, 'some-thing')[0].metadata.labels).toEqual({ 'thalos-brain/manifest': 'some-thing' });
  });

  test('waits for the switch of network policies: pods that start before it start without them', () => {
    const { stack, cluster } = fixture();
    cluster.addManifests('some-thing', chartWith({ a: 'b' }));
    cluster.addManifests('another', chartWith({ c: 'd' }));
    const manifests = Template.fromStack(stack).findResources('Custom::AWSCDK-EKS-KubernetesResource');
    const [id] = Object.keys(manifests).filter((each) => manifests[each].Properties.PruneLabel === 'thalos-brain/manifest=network-policy');
    const { [id]: policies, ...others } = manifests;
    expect(policies.DependsOn).not.toContain(id);
    expect(Object.keys(others)).toHaveLength(3);
    for (const { DependsOn } of Object.values(others)) expect(DependsOn).toContain(id);
  });

  test('logical ids follow from the manifest\'s name alone', () => {
    const { stack, cluster } = fixture();
    cluster.addManifests('some-thing', chartWith({ a: 'b' }));
    const other = fixture();
    other.cluster.addManifests('other', chartWith({ c: 'd' }));
    other.cluster.addManifests('some-thing', chartWith({ e: 'f' }));
    const id = (of: Stack) => Object.keys(Template.fromStack(of).findResources('Custom::AWSCDK-EKS-KubernetesResource', {
      Properties: { PruneLabel: 'thalos-brain/manifest=some-thing' },
    }));
    expect(id(stack)).toEqual(id(other.stack));
  });

  test('reviewers read the same objects as YAML, with the logical names of what CloudFormation fills in', () => {
    const { app, stack, cluster } = fixture();
    const bucket = new Bucket(stack, 'Bucket');
    cluster.addManifests('some-thing', chartWith({
      name: bucket.bucketName, arn: `${bucket.bucketArn}/models`, region: stack.region, plain: 'as it is',
    }));
    app.synth();
    const [document] = parseAllDocuments(yamlOf(outdir, 'some-thing')).map((parsed) => parsed.toJSON());
    expect(document).toMatchObject({
      kind: 'ConfigMap',
      data: { name: '<<Bucket83908E77>>', arn: '<<Bucket83908E77.Arn>>/models', region: '<<AWS::Region>>', plain: 'as it is' },
    });
  });

  test('what is added to the chart after it was handed over is applied too', () => {
    const { app, stack, cluster } = fixture();
    const chart = chartWith({ a: 'b' });
    cluster.addManifests('some-thing', chart);
    new k8s.KubeConfigMap(chart, 'Late', { metadata: { name: 'late', namespace: 'default' } });
    app.synth();
    expect(manifestObjects(stack, 'some-thing').map((object) => object.metadata.name)).toEqual(['data', 'late']);
    expect(yamlOf(outdir, 'some-thing')).toContain('name: late');
  });

  test('names of another stack appear as imports', () => {
    const { app, stack, cluster } = fixture();
    const other = new Stack(app, 'Other');
    cluster.addManifests('some-thing', chartWith({ name: new Bucket(other, 'Bucket').bucketName }));
    app.synth();
    expect(yamlOf(outdir, 'some-thing')).toMatch(/name: <<Other:ExportsOutput\w+>>/);
    expect(JSON.stringify(Template.fromStack(stack).toJSON())).toContain('Fn::ImportValue');
  });

  test('reviewers read what is applied, even where a text depends on when it was made', () => {
    const { app, stack, cluster } = fixture();
    const name = new Bucket(new Stack(app, 'Other'), 'Bucket').bucketName;
    const written = ChartLazy.any({ produce: () => JSON.stringify(stack.resolve(name)) });
    cluster.addManifests('some-thing', chartWith({ name, written: written as unknown as string }));
    app.synth();
    const [document] = parseAllDocuments(yamlOf(outdir, 'some-thing')).map((parsed) => parsed.toJSON());
    expect(document.data.written).toBe(manifestObjects(stack, 'some-thing')[0].data.written);
  });

  test('a brain in a stage writes into the assembly of its stage', () => {
    const { app } = fixture();
    const stage = new Stage(app, 'Prod');
    const stack = new Stack(stage, 'Serving');
    clusterIn(stack);
    const assembly = app.synth().getNestedAssembly('assembly-Prod');
    expect(existsSync(join(assembly.directory, 'thalos-brain', 'brain', 'manifests', 'network-policy.yaml'))).toBe(true);
  });

  test('two synths are byte-identical', () => {
    const synth = () => {
      const directory = mkdtempSync(join(outdir, 'synth-'));
      const { app, cluster } = clusterFixture({}, undefined, { outdir: directory });
      cluster.addManifests('some-thing', chartWith({ b: '2', a: '1' }));
      app.synth();
      return [yamlOf(directory, 'some-thing'), yamlOf(directory, 'network-policy'), readFileSync(join(directory, 'Stack.template.json'), 'utf8')];
    };
    expect(synth()).toEqual(synth());
  });

  test('fails with a Secret: the kubectl handlers log what they apply', () => {
    const { app, cluster } = fixture();
    const chart = new Chart(new ChartApp(), 'test');
    new k8s.KubeSecret(chart, 'Secret', { metadata: { name: 'password' }, stringData: { password: 'x' } });
    cluster.addManifests('some-thing', chart);
    expect(() => app.synth()).toThrow(/SecretInManifest: manifest 'some-thing' holds Secret 'password'/);
  });

  test('fails with more than one Lambda event carries', () => {
    const { app, cluster } = fixture();
    cluster.addManifests('some-thing', chartWith({ a: 'x'.repeat(100_000) }));
    expect(() => app.synth()).toThrow(/ManifestTooLarge: manifest 'some-thing' has 100\d\d\d bytes/);
  });

  test.each(['Some-Thing', '', Lazy.string({ produce: () => 'late' })])('fails with the name %p', (name) => {
    expect(() => fixture().cluster.addManifests(name, chartWith({}))).toThrow(/InvalidName: the manifest name/);
  });
});

describe('addPodIdentity', () => {
  test('associates one service account with one role', () => {
    const { stack, cluster, role } = clusterFixture();
    cluster.addPodIdentity('Reader', { namespace: 'space', serviceAccount: 'reader', role });
    Template.fromStack(stack).hasResourceProperties('AWS::EKS::PodIdentityAssociation', {
      ClusterName: { Ref: Match.stringLikeRegexp('^Cluster') },
      Namespace: 'space',
      ServiceAccount: 'reader',
      RoleArn: { 'Fn::GetAtt': [Match.stringLikeRegexp('^PodRole'), 'Arn'] },
    });
  });
});
