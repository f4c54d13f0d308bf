import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { IRepository } from 'aws-cdk-lib/aws-ecr';
import { DockerImageAsset, Platform } from 'aws-cdk-lib/aws-ecr-assets';
import { Construct } from 'constructs';
import { DIGEST_PATTERN } from '../contract';
import { BrainEnvironment } from '../environment';
import { fail } from '../private/fail';

/** Bundles of what this package deploys, beside `src/` and `lib/` alike. */
const ASSETS = join(__dirname, '..', '..', 'assets');

/**
 * Where a pod's image comes from. Images are pinned by digest or by the content of their build context, never by a tag.
 */
export abstract class ContainerImage {
  /**
   * One of this package's own images: a Dockerfile and a bundle under `assets/<name>`, built for linux/amd64 and pushed
   * to the account's own registry by `cdk deploy`. Docker is needed then, and not at synth.
   */
  static fromBundle(name: string): ContainerImage {
    return new BundleImage(name);
  }

  /**
   * An image of the account's own ECR, pinned by digest.
   *
   * @param digest `sha256:` and 64 hexadecimal digits
   */
  static fromEcr(repository: IRepository, digest: string): ContainerImage {
    return new EcrImage(repository, requireDigest(digest));
  }

  /**
   * An image of any other registry, pinned by digest. Only where `environment.foreignImages` is true (dev): elsewhere copy it to
   * the account's own ECR and use {@link fromEcr}, so that a registry's outage or limit cannot stop a node from starting pods.
   *
   * @param uri    registry and repository without a tag, e.g. `registry.example.com/nvidia/tritonserver`
   * @param digest `sha256:` and 64 hexadecimal digits
   */
  static fromRegistry(uri: string, digest: string): ContainerImage {
    return new RegistryImage(uri, requireDigest(digest));
  }

  /** The ECR repository that it is pulled from; undefined where it is in none that is known. @internal */
  get _repository(): IRepository | undefined {
    return undefined;
  }

  /** Gives the image's URI, and defines in `scope` what it takes to have it. @internal */
  abstract _bind(scope: Construct, id: string, environment: BrainEnvironment): string;
}

class BundleImage extends ContainerImage {
  constructor(private readonly name: string) {
    super();
  }

  /** @internal */
  override _bind(scope: Construct, id: string): string {
    const directory = join(ASSETS, this.name);
    if (!/^[a-z][a-z0-9-]*$/.test(this.name) || !existsSync(join(directory, 'Dockerfile'))) {
      fail(scope, 'UnknownBundle', `there is no bundle '${this.name}' with a Dockerfile in assets/: use a name that this package ships, or run its bundle task`);
    }
    return new DockerImageAsset(scope, id, { directory, platform: Platform.LINUX_AMD64 }).imageUri;
  }
}

class EcrImage extends ContainerImage {
  constructor(private readonly repository: IRepository, private readonly digest: string) {
    super();
  }

  /** @internal */
  override get _repository(): IRepository {
    return this.repository;
  }

  /** @internal */
  override _bind(): string {
    return this.repository.repositoryUriForDigest(this.digest);
  }
}

class RegistryImage extends ContainerImage {
  constructor(private readonly uri: string, private readonly digest: string) {
    super();
    if (/[:@]/.test(uri.slice(uri.lastIndexOf('/') + 1)) || uri.trim() === '') {
      fail(undefined, 'ImageTag', `image '${uri}' must be given without tag and digest: the second argument is the digest`);
    }
  }

  /** @internal */
  override _bind(scope: Construct, _id: string, environment: BrainEnvironment): string {
    if (!environment.foreignImages) {
      fail(scope, 'ForeignImage', `image '${this.uri}' lies outside of the account's own registry, which environment '${environment.name}' `
        + 'does not allow: copy it to your ECR and use ContainerImage.fromEcr(repository, digest)');
    }
    return `${this.uri}@${this.digest}`;
  }
}

function requireDigest(digest: string): string {
  if (!new RegExp(DIGEST_PATTERN).test(digest)) {
    fail(undefined, 'ImageDigest', `'${digest}' is not an image digest: give sha256: and 64 hexadecimal digits, so that what runs is what was reviewed`);
  }
  return digest;
}
