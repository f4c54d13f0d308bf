/** Which versions this process serves: it follows the rollout document, and never leaves what the document approves (DESIGN §4.2, §4.3). */
import { BrainError, refuse } from './errors';
import { type ModelPlan, planModel } from './plan';
import type { Logger, ManifestSource, ModelRuntime, RolloutSource } from './ports';
import { type ApprovedVersion, approvedVersion, approvedVersions, stableVersion } from './rollout';
import type { BrainConfiguration, RolloutDocument } from '../../src/contract';

export interface ModelCatalogOptions {
  readonly configuration: BrainConfiguration;
  readonly rollout: RolloutSource;
  readonly manifests: ManifestSource;
  readonly runtime: ModelRuntime;
  readonly logger: Logger;
  /** Milliseconds between two attempts to take up a stable version. @default 1000 */
  readonly retryMs?: number;
}

const keyOf = ({ model, version, digest }: ApprovedVersion) => `${model}/${version}@${digest}`;

/**
 * Takes up the stable version of each declared model: manifest fetched, checked and planned, runtime ready.
 * While a new stable version cannot be taken up, the one before it serves on if it is still approved.
 */
export class ModelCatalog {
  private readonly plans = new Map<string, Promise<ModelPlan>>();
  /** Taken up, and so ready at least once. */
  private readonly ready = new Set<string>();
  private readonly serving = new Map<string, { readonly approved: ApprovedVersion; readonly plan: ModelPlan }>();
  private readonly reported = new Map<string, string>();
  private started = false;
  private closed = false;
  private timer: NodeJS.Timeout | undefined;
  private pass: Promise<void> = Promise.resolve();
  private unsubscribe: (() => void) | undefined;

  constructor(private readonly options: ModelCatalogOptions) {}

  /** Follows the rollout document from now on. Resolves after the first attempt at every stable version, whether it succeeded or not. */
  async start(): Promise<void> {
    this.unsubscribe = this.options.rollout.onChange((document) => {
      // what is no longer approved stops now, not after the attempts under way
      this.forget(document);
      void this.follow();
    });
    await this.follow();
  }

  /**
   * Whether the process may take traffic: every version that was stable at start has been taken up. Once true it stays true,
   * so that a bad version that comes later takes no pod away from the good one.
   */
  isReady(): boolean {
    return this.started;
  }

  /** The plan that serves a model where the client names no version. Fails with UNKNOWN_MODEL or MODEL_NOT_READY. */
  stable(model: string): ModelPlan {
    this.requireDeclared(model);
    const serving = this.serving.get(model);
    if (serving) return serving.plan;
    const stable = stableVersion(this.options.rollout.current(), model);
    return refuse('MODEL_NOT_READY', stable ? `version ${stable.version} of model '${model}' is not loaded yet` : `no version of model '${model}' is released`, { model });
  }

  /** The plan of one approved version, taken up if need be. Fails with UNKNOWN_MODEL, UNKNOWN_VERSION or MODEL_NOT_READY. */
  async version(model: string, version: string): Promise<ModelPlan> {
    this.requireDeclared(model);
    const approved = approvedVersion(this.options.rollout.current(), model, version);
    if (!this.ready.has(keyOf(approved))) await this.takeUp(approved);
    return this.plan(approved);
  }

  /** Plan and approved versions for the metadata of a model; needs the manifest, not the runtime. */
  async describe(model: string, version?: string): Promise<{ readonly plan: ModelPlan; readonly versions: readonly string[] }> {
    this.requireDeclared(model);
    const document = this.options.rollout.current();
    const approved = version === undefined
      ? this.serving.get(model)?.approved ?? stableVersion(document, model) ?? refuse('MODEL_NOT_READY', `no version of model '${model}' is released`, { model })
      : approvedVersion(document, model, version);
    return { plan: await this.plan(approved), versions: approvedVersions(document, model).map((each) => each.version) };
  }

  /** Asks the runtime, now. Fails with UNKNOWN_MODEL, UNKNOWN_VERSION or MODEL_NOT_READY. */
  async requireReady(model: string, version?: string, signal?: AbortSignal): Promise<ModelPlan> {
    const plan = version === undefined ? this.stable(model) : await this.version(model, version);
    if (!await this.options.runtime.ready(plan.ref, signal)) {
      refuse('MODEL_NOT_READY', `the runtime has no ready version ${plan.ref.version} of model '${model}'`, { model, version: plan.ref.version });
    }
    return plan;
  }

  /** Resolves when the attempts under way have ended. */
  async settled(): Promise<void> {
    await this.pass;
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
    this.unsubscribe?.();
  }

  private requireDeclared(model: string): void {
    if (!this.options.configuration.models.some(({ name }) => name === model)) refuse('UNKNOWN_MODEL', `the brain declares no model '${model}'`, { model });
  }

  /** One attempt after the other; a change of the document starts the next at once. */
  private follow(): Promise<void> {
    clearTimeout(this.timer);
    this.pass = this.pass.then(() => this.attempt());
    return this.pass;
  }

  private async attempt(): Promise<void> {
    if (this.closed) return;
    const document = this.options.rollout.current();
    if (document) {
      this.forget(document);
      const stable = this.options.configuration.models.flatMap(({ name }) => stableVersion(document, name) ?? []);
      const done = await Promise.all(stable.map((approved) => this.serve(approved)));
      if (this.closed) return;
      // a change of the document during the attempt has its own attempt behind this one
      if (done.every(Boolean)) {
        this.started = true;
        return;
      }
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.follow(), this.options.retryMs ?? 1000).unref();
  }

  /** Makes an approved stable version the one that serves its model; false where it cannot be taken up yet. */
  private async serve(approved: ApprovedVersion): Promise<boolean> {
    const key = keyOf(approved);
    const current = this.serving.get(approved.model);
    if (current && keyOf(current.approved) === key) return true;
    try {
      await this.takeUp(approved);
      const plan = await this.plan(approved);
      // the document may have gone on while the version loaded
      const still = approvedVersions(this.options.rollout.current(), approved.model).some((each) => keyOf(each) === key);
      if (!still || this.closed) return false;
      this.serving.set(approved.model, { approved, plan });
      this.reported.delete(approved.model);
      this.options.logger.info({ model: approved.model, version: approved.version }, 'model version serves');
      return true;
    } catch (error) {
      this.report(approved, error);
      return false;
    }
  }

  private async takeUp(approved: ApprovedVersion): Promise<void> {
    const plan = await this.plan(approved);
    if (!await this.options.runtime.ready(plan.ref)) {
      refuse('MODEL_NOT_READY', `version ${approved.version} of model '${approved.model}' is not loaded yet`, { model: approved.model, version: approved.version });
    }
    this.ready.add(keyOf(approved));
  }

  private plan(approved: ApprovedVersion): Promise<ModelPlan> {
    const key = keyOf(approved);
    let plan = this.plans.get(key);
    if (!plan) {
      plan = this.load(approved);
      this.plans.set(key, plan);
      // a failure is tried again, not remembered
      plan.catch(() => this.plans.delete(key));
    }
    return plan;
  }

  private async load({ model, version, digest }: ApprovedVersion): Promise<ModelPlan> {
    const manifest = await this.options.manifests.manifest(model, version, digest);
    if (manifest.name !== model || manifest.version !== version) {
      refuse('INVALID_MANIFEST', `the manifest released as '${model}' version ${version} names itself '${manifest.name}' version ${manifest.version}`);
    }
    return planModel({ name: model, version, manifest }, this.options.configuration);
  }

  /** Drops what the document no longer approves. */
  private forget(document: RolloutDocument): void {
    const approved = new Set(Object.keys(document.models).flatMap((model) => approvedVersions(document, model).map(keyOf)));
    for (const key of this.plans.keys()) if (!approved.has(key)) this.plans.delete(key);
    for (const key of this.ready) if (!approved.has(key)) this.ready.delete(key);
    for (const [model, { approved: served }] of this.serving) if (!approved.has(keyOf(served))) this.serving.delete(model);
  }

  /** Says why a version cannot be taken up: once for each reason, not at every attempt. */
  private report({ model, version }: ApprovedVersion, error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    if (this.reported.get(model) === reason) return;
    this.reported.set(model, reason);
    const code = error instanceof BrainError ? error.code : 'INTERNAL';
    this.options.logger.error({ model, version, code, error: reason }, 'model version cannot be taken up');
  }
}
