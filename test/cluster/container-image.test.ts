import { readFileSync } from 'node:fs';
import { App, Stack } from 'aws-cdk-lib';
import { Repository } from 'aws-cdk-lib/aws-ecr';
import { DIGEST } from './fixture';
import { ContainerImage } from '../../src/cluster';
import { BrainEnvironment } from '../../src/environment';

const bind = (image: ContainerImage, environment = BrainEnvironment.prod()) => {
  const app = new App();
  const stack = new Stack(app, 'Stack');
  return { app, uri: stack.resolve(image._bind(stack, 'Image', environment)) };
};

describe('ContainerImage', () => {
  test('fromBundle is built at deploy for linux/amd64, and needs no Docker at synth', () => {
    const path = process.env.PATH;
    process.env.PATH = '';
    try {
      const { app, uri } = bind(ContainerImage.fromBundle('inference-service'));
      expect(JSON.stringify(uri)).toContain('.dkr.ecr.');
      app.synth();
      const { dockerImages } = JSON.parse(readFileSync(`${app.outdir}/Stack.assets.json`, 'utf8'));
      expect(Object.values<any>(dockerImages)).toEqual([expect.objectContaining({ source: expect.objectContaining({ platform: 'linux/amd64' }) })]);
    } finally {
      process.env.PATH = path;
    }
  });

  test('fromEcr pins the digest', () => {
    const stack = new Stack(new App(), 'Stack');
    const repository = Repository.fromRepositoryName(stack, 'Repository', 'triton');
    const uri = ContainerImage.fromEcr(repository, DIGEST)._bind(stack, 'Image', BrainEnvironment.prod());
    expect(JSON.stringify(stack.resolve(uri))).toContain(`/triton@${DIGEST}`);
  });

  test('fromRegistry works in dev', () => {
    expect(bind(ContainerImage.fromRegistry('registry.example/triton', DIGEST), BrainEnvironment.dev()).uri).toBe(`registry.example/triton@${DIGEST}`);
  });

  test.each([BrainEnvironment.staging(), BrainEnvironment.prod()])('fails with an image of another registry in $name', (environment) => {
    expect(() => bind(ContainerImage.fromRegistry('registry.example/triton', DIGEST), environment))
      .toThrow(/ForeignImage: image 'registry.example\/triton' .* copy it to your ECR/);
  });

  test.each([
    ['a bundle that is not shipped', () => bind(ContainerImage.fromBundle('nothing-like-it')), /UnknownBundle/],
    ['a bundle outside of assets', () => bind(ContainerImage.fromBundle('../runtime/inference-service')), /UnknownBundle/],
    ['a digest that is a tag', () => ContainerImage.fromRegistry('registry.example/triton', '25.10-py3'), /ImageDigest: '25.10-py3'/],
    ['a tag in the URI', () => ContainerImage.fromRegistry('registry.example:5000/triton:latest', DIGEST), /ImageTag/],
  ])('fails with %s', (_, make, message) => {
    expect(make).toThrow(message);
  });

  test('a port in the registry is not a tag', () => {
    expect(bind(ContainerImage.fromRegistry('registry.example:5000/triton', DIGEST), BrainEnvironment.dev()).uri).toContain(':5000/triton@');
  });
});
