/** Where everything of the embedded brain lies: one folder, `.thalos/` unless said otherwise. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { reject, systemCode } from './local-errors';
import { acquireLock, type ProcessLock } from './process-lock';
import { Paths, quarantinePath, type FeatureGroupSchema } from '../../../src/contract';

export class DataDirectory {
  readonly root: string;

  constructor(root: string) {
    this.root = resolve(root);
  }

  /** Creates the folder, and in it a `.gitignore` that keeps all of it out of version control. Fails with DATA_DIR_INVALID. */
  create(): void {
    try {
      mkdirSync(this.root, { recursive: true });
    } catch (error) {
      // ENOTDIR: a folder above it is a file
      if (!['EEXIST', 'ENOTDIR'].includes(systemCode(error) ?? '')) throw error;
      reject('DATA_DIR_INVALID', `'${this.root}' is not a folder: give another --data-dir`, error);
    }
    try {
      writeFileSync(join(this.root, '.gitignore'), '*\n', { flag: 'wx' });
    } catch {
      // it is there already, or the folder is read-only, which the first real write reports
    }
  }

  get artifacts(): string {
    return join(this.root, 'artifacts', Paths.MODELS);
  }

  /** Folder of one version of a model. */
  version(model: string, version: string): string {
    return join(this.artifacts, model, version);
  }

  get rollout(): string {
    return join(this.root, 'rollout.json');
  }

  get online(): string {
    return join(this.root, 'online');
  }

  offline(group: FeatureGroupSchema): string {
    return join(this.root, 'offline', group.name, `v${group.version}`);
  }

  /** Rows of a group that were not written. @param name of the file, without its ending */
  quarantine(group: FeatureGroupSchema, name: string): string {
    return join(this.root, quarantinePath(group, name));
  }

  vectors(index: string): string {
    return join(this.root, 'vectors', index);
  }

  /** Captured requests, parquet. */
  get capture(): string {
    return join(this.root, Paths.CAPTURE);
  }

  /** Windows of statistics of one version of a model. */
  statistics(model: string, version: string): string {
    return join(this.root, Paths.STATISTICS, model, version);
  }

  /** Where DuckDB spills what does not fit in memory. */
  get spill(): string {
    return join(this.root, 'spill');
  }

  /** One process at a time does `what`; fails with DATA_DIR_BUSY or DATA_DIR_INVALID. A lock whose process is gone is taken over. */
  lock(what: string): ProcessLock {
    this.create();
    return acquireLock(join(this.root, 'locks', `${what}.lock`), `${what} on ${this.root}`);
  }
}
