/** Which versions this process serves: it follows the rollout document, and never leaves what the document approves (DESIGN §4.2, §4.3). */
import { BrainError, refuse } from './errors';
import { type ModelPlan, planModel } from './plan';
import type { CallContext, Logger, ManifestSource, ModelRuntime, RolloutSource } from './ports';
import type { ApprovedVersion } from './rollout';
import { EMPTY_TABLE, type ModelRoutes, requireApproved, type RoutingTable, routingTable } from './routing';
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
 * Takes up the stable version and the candidate of each declared model: manifest fetched, checked and planned, runtime ready.
 * While a new stable version cannot be taken up, the one before it serves on if it is still approved; a candidate that cannot be
 * taken up serves nobody, and the stable version serves in its place.
 */
export class ModelCatalog {
  private readonly plans = new Map<string, Promise<ModelPlan>>();
  /** Taken up, and so ready at least once. */
  private readonly ready = new Map<string, ModelPlan>();
  private readonly declared: ReadonlySet<string>;
  private table: RoutingTable = EMPTY_TABLE;
  private readonly serving = new Map<string, { readonly approved: ApprovedVersion; readonly plan: ModelPlan }>();
  private readonly reported = new Map<string, string>();
  private started = false;
  private readyCallback: (() => void) | undefined;
  private closed = false;
  private timer: NodeJS.Timeout | undefined;
  private pass: Promise<void> = Promise.resolve();
  private unsubscribe: (() => void) | undefined;

  constructor(private readonly options: ModelCatalogOptions) {
    this.declared = new Set(options.configuration.models.map(({ name }) => name));
  }

  /** Follows the rollout document from now on. Resolves after the first attempt at every stable version, whether it succeeded or not. */
  async start(): Promise<void> {
    this.unsubscribe = this.options.rollout.onChange((document) => {
      // what is no longer approved stops now, not after the attempts under way
      this.adopt(document);
      void this.follow();
    });
    const document = this.options.rollout.current();
    if (document) this.adopt(document);
    await this.follow();
  }

  /** Calls back when {@link isReady} becomes true. */
  onReady(callback: () => void): void {
    this.readyCallback = callback;
  }

  /**
   * Whether the process may take traffic: every version that was stable at start has been taken up, or the runtime has pods only while somebody asks, who must
   * be able to. Once true it stays true, so that a bad version that comes later takes no pod away from the good one.
   */
  isReady(): boolean {
    return this.started;
  }

  /** What the document says about a model. Fails with UNKNOWN_MODEL, or with MODEL_NOT_READY where nothing is released. */
  routes(model: string): ModelRoutes {
    return this.table.get(this.requireDeclared(model)) ?? refuse('MODEL_NOT_READY', `no version of model '${model}' is released`, { model });
  }

  /** The plan that serves a model where the document assigns no candidate; undefined where none has been taken up yet. */
  serves(model: string): ModelPlan | undefined {
    return this.serving.get(model)?.plan;
  }

  /** Models of which the document names a candidate. */
  candidates(): number {
    let count = 0;
    for (const { candidate } of this.table.values()) if (candidate) count++;
    return count;
  }

  /** The plan that serves a model where the document assigns no candidate. Fails with UNKNOWN_MODEL or MODEL_NOT_READY. */
  stable(model: string): ModelPlan {
    const serving = this.serving.get(model);
    if (serving) return serving.plan;
    const { stable } = this.routes(model);
    return refuse('MODEL_NOT_READY', `version ${stable.version} of model '${model}' is not loaded yet`, { model });
  }

  /** The plan of a version that has been taken up; undefined where it has not. */
  taken(approved: ApprovedVersion): ModelPlan | undefined {
    return this.ready.get(keyOf(approved));
  }

  /** The plan of one approved version, taken up if need be. Fails with UNKNOWN_MODEL, UNKNOWN_VERSION or MODEL_NOT_READY. */
  async version(model: string, version: string): Promise<ModelPlan> {
    const approved = requireApproved(model, this.routes(model), version);
    const taken = this.taken(approved);
    if (taken) return taken;
    const plan = await this.takeUp(approved);
    // the document may have gone on while the version loaded
    if (!this.isApproved(approved)) refuse('UNKNOWN_VERSION', `version '${version}' of model '${model}' is no longer approved`, { model, version });
    return plan;
  }

  /** Plan and approved versions for the metadata of a model; needs the manifest, not the runtime. */
  async describe(model: string, version?: string): Promise<{ readonly plan: ModelPlan; readonly versions: readonly string[] }> {
    const routes = this.routes(model);
    const approved = version === undefined ? this.serving.get(model)?.approved ?? routes.stable : requireApproved(model, routes, version);
    return { plan: await this.plan(approved), versions: routes.versions.map((each) => each.version) };
  }

  /** Asks the runtime, now. Fails with UNKNOWN_MODEL, UNKNOWN_VERSION or MODEL_NOT_READY. */
  async requireReady(model: string, version?: string, context?: CallContext): Promise<ModelPlan> {
    const plan = version === undefined ? this.stable(model) : await this.version(model, version);
    if (!await this.options.runtime.ready(plan.ref, context)) {
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

  private requireDeclared(model: string): string {
    return this.declared.has(model) ? model : refuse('UNKNOWN_MODEL', `the brain declares no model '${model}'`, { model });
  }

  /** One attempt after the other; a change of the document starts the next at once. */
  private follow(): Promise<void> {
    clearTimeout(this.timer);
    this.pass = this.pass.then(() => this.attempt());
    return this.pass;
  }

  private async attempt(): Promise<void> {
    if (this.closed) return;
    if (this.options.rollout.current()) {
      const routes = [...this.declared].flatMap((model) => this.table.get(model) ?? []);
      const [stable, candidates] = await Promise.all([
        Promise.all(routes.map((each) => this.serve(each.stable))),
        Promise.all(routes.map(({ candidate }) => (candidate ? this.tryTakeUp(candidate.approved) : true))),
      ]);
      if (this.closed) return;
      // a change of the document during the attempt has its own attempt behind this one
      const mayStart = stable.every(Boolean) || this.options.configuration.runtime?.onDemand === true;
      if (mayStart && !this.started) {
        this.started = true;
        this.readyCallback?.();
      }
      if (this.started && stable.every(Boolean) && candidates.every(Boolean)) return;
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.follow(), this.options.retryMs ?? 1000).unref();
  }

  /** Makes an approved stable version the one that serves its model; false where it cannot be taken up yet. */
  private async serve(approved: ApprovedVersion): Promise<boolean> {
    const key = keyOf(approved);
    const current = this.serving.get(approved.model);
    if (current && keyOf(current.approved) === key) return true;
    if (!await this.tryTakeUp(approved)) return false;
    const plan = this.ready.get(key);
    // the document may have gone on while the version loaded
    if (!plan || this.closed) return false;
    this.serving.set(approved.model, { approved, plan });
    this.options.logger.info({ model: approved.model, version: approved.version }, 'model version serves');
    return true;
  }

  /** Takes up a version; says why where it cannot be. */
  private async tryTakeUp(approved: ApprovedVersion): Promise<boolean> {
    if (this.ready.has(keyOf(approved))) return true;
    try {
      await this.takeUp(approved);
      this.reported.delete(keyOf(approved));
      return true;
    } catch (error) {
      this.report(approved, error);
      return false;
    }
  }

  private async takeUp(approved: ApprovedVersion): Promise<ModelPlan> {
    const plan = await this.plan(approved);
    if (!await this.options.runtime.ready(plan.ref)) {
      refuse('MODEL_NOT_READY', `version ${approved.version} of model '${approved.model}' is not loaded yet`, { model: approved.model, version: approved.version });
    }
    // the document may have gone on while the version loaded: what it no longer approves is not kept
    if (this.isApproved(approved)) this.ready.set(keyOf(approved), plan);
    return plan;
  }

  private isApproved(approved: ApprovedVersion): boolean {
    return this.table.get(approved.model)?.byVersion.get(approved.version)?.digest === approved.digest;
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

  /** Routes by the document from now on, and drops what it no longer approves. */
  private adopt(document: RolloutDocument): void {
    this.table = routingTable(document);
    const approved = new Set([...this.table.values()].flatMap(({ versions }) => versions.map(keyOf)));
    for (const keys of [this.plans, this.ready, this.reported]) for (const key of keys.keys()) if (!approved.has(key)) keys.delete(key);
    for (const [model, { approved: served }] of this.serving) if (!approved.has(keyOf(served))) this.serving.delete(model);
  }

  /** Says why a version cannot be taken up: once for each reason, not at every attempt. */
  private report(approved: ApprovedVersion, error: unknown): void {
    const { model, version } = approved;
    const key = keyOf(approved);
    const reason = error instanceof Error ? error.message : String(error);
    if (this.reported.get(key) === reason) return;
    this.reported.set(key, reason);
    const code = error instanceof BrainError ? error.code : 'INTERNAL';
    this.options.logger.error({ model, version, code, error: reason }, 'model version cannot be taken up');
  }
}
