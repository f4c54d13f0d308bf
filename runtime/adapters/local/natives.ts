/**
 * The native parts of the embedded brain. They weigh 360 MB that nobody who only synthesizes should install, so the package
 * neither depends on them nor bundles them: they are looked up in the user's project, then beside this package.
 */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type * as DuckDB from '@duckdb/node-api';
import type * as Lmdb from 'lmdb';
import { messageOf, reject, systemCode } from './local-errors';

/** Versions that the tests of this release ran with. */
const RANGES = { 'lmdb': '^3.5.6', '@duckdb/node-api': '^1.5.5-r.5', 'onnxruntime-node': '^1.30.0' } as const;
export type NativePart = keyof typeof RANGES;

/** A module of ONNX Runtime that a worker thread can load. */
export interface OnnxModule {
  readonly kind: 'onnxruntime-node' | 'onnxruntime-web';
  readonly file: string;
}

export interface Natives {
  /** Fails with NATIVE_MISSING, whose text is the one command that installs all that is missing. */
  require(parts: readonly NativePart[]): void;
  lmdb(): typeof Lmdb;
  duckdb(): typeof DuckDB;
  /** `onnxruntime-node`, else the WebAssembly build, which every platform runs. In the order in which to try them. */
  onnx(): OnnxModule[];
}

/** Looks in the project of `cwd`, then in `own`, the package's own location. */
export function findNatives(cwd: string = process.cwd(), own: string = __filename): Natives {
  const lookups = [createRequire(join(cwd, 'package.json')), createRequire(own)];

  const locate = (name: string): { file: string; load: NodeJS.Require } | undefined => {
    for (const load of lookups) {
      try {
        return { file: load.resolve(name), load };
      } catch (error) {
        if (!NOT_FOUND.has(systemCode(error) ?? '')) throw error;
      }
    }
    return undefined;
  };
  const onnx = (): OnnxModule[] => (['onnxruntime-node', 'onnxruntime-web'] as const).flatMap((kind) => {
    const found = locate(kind);
    return found ? [{ kind, file: found.file }] : [];
  });
  const missing = (parts: readonly NativePart[]) => parts.filter((part) => part === 'onnxruntime-node' ? onnx().length === 0 : !locate(part));
  const require = (parts: readonly NativePart[]): void => {
    const absent = missing(parts);
    if (absent.length > 0) {
      reject('NATIVE_MISSING', `the embedded brain needs ${absent.join(', ')}; install with\n\n  ${installCommand(absent)}\n`);
    }
  };
  const load = <T>(part: NativePart): T => {
    require([part]);
    try {
      return locate(part)!.load(part) as T;
    } catch (error) {
      return reject('NATIVE_BROKEN', `${part} is installed and does not load on ${process.platform}-${process.arch}: ${messageOf(error)}`, error);
    }
  };
  return { require, onnx, lmdb: () => load<typeof Lmdb>('lmdb'), duckdb: () => load<typeof DuckDB>('@duckdb/node-api') };
}

/** Install scripts are off: ONNX Runtime's fetches CUDA, and all three ship their binaries inside registry packages. */
export function installCommand(parts: readonly NativePart[]): string {
  return `npm install --save-dev --ignore-scripts ${parts.map((part) => `${part}@${RANGES[part]}`).join(' ')}`;
}

const NOT_FOUND = new Set(['MODULE_NOT_FOUND', 'ERR_PACKAGE_PATH_NOT_EXPORTED']);
