/**
 * Generations of a vector index on disk: `<index>/<generation>/` is written once and never changed, and the file `<index>/current` names
 * the one that answers. A build that dies leaves a folder that no reader looks at.
 */
import { createHash, type Hash } from 'node:crypto';
import {
  closeSync, existsSync, fstatSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync, readSync, renameSync, rmSync, statSync, writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { commit, readIfThere, removeUnfinished, replaceFile, syncPath, unfinishedPath, writeSynced } from './durable-files';
import { FlatIndex } from './flat-index';
import { LocalError, messageOf, reject } from './local-errors';
import type { FeatureValue, VectorIndexSchema } from '../../../src/contract';
import type { Generation } from '../../core/vectors/generations';

const VECTORS = 'vectors.f32';
const DOCUMENTS = 'documents.jsonl';
const ABOUT = 'about.json';
const CURRENT = 'current';
const FORMAT = 1;

interface About {
  readonly format: typeof FORMAT;
  readonly dimension: number;
  readonly similarity: VectorIndexSchema['similarity'];
  readonly count: number;
  /** Digest of each file. */
  readonly digests: Readonly<Record<string, string>>;
}

/** Components of the vectors of a generation at most: those of an array of floats (V8 of Node.js 20; 16 GiB). */
export const MOST_COMPONENTS = 2 ** 32;

/** `id` and the fields that the vector has. */
export type VectorDocument = readonly [string, Readonly<Record<string, FeatureValue>>];

export interface LoadedGeneration {
  readonly generation: string;
  readonly index: FlatIndex;
  readonly documents: readonly VectorDocument[];
}

/** The name of the generation that answers; undefined before the first import. */
export function currentGeneration(folder: string): string | undefined {
  return readIfThere(join(folder, CURRENT))?.trim();
}

/** Changes whenever {@link currentGeneration} may have changed; costs one look at the file system. */
export function generationStamp(folder: string): string {
  const stat = statSync(join(folder, CURRENT), { bigint: true, throwIfNoEntry: false });
  return stat ? `${stat.ino}:${stat.mtimeNs}` : '';
}

/** How far a generation is read, bytes. */
export type ReadProgress = (done: number, total: number) => void;

/** Read at a time, so that it can be seen to go on; also what is hashed and written at a time. */
const PIECE_BYTES = 16 * 1024 * 1024;

/**
 * Reads and checks a generation. Fails with DATA_DIR_CORRUPT where its bytes are not those that were written, or are of another declaration, and with
 * TOO_LARGE where there is no memory for its vectors.
 *
 * @param pieceBytes that are read at a time
 */
export function loadGeneration(
  folder: string, generation: string, schema: VectorIndexSchema, progress: ReadProgress = () => undefined, pieceBytes = PIECE_BYTES,
): LoadedGeneration {
  const corrupt = (text: string, cause?: unknown): never => reject('DATA_DIR_CORRUPT', `generation ${generation} of vector index '${schema.name}' ${text}; import it again`, cause);
  const documents = new DocumentReader();
  let about: About;
  let vectors: Float32Array<ArrayBuffer>;
  let digests: Readonly<Record<string, string>>;
  try {
    about = readAbout(folder, generation);
    const [size, others] = [VECTORS, DOCUMENTS].map((name) => statSync(join(folder, generation, name)).size);
    vectors = allocate(schema, generation, size);
    const piece = new Uint8Array(pieceBytes);
    digests = {
      [VECTORS]: readHashed(join(folder, generation, VECTORS), pieceBytes, {
        place: (at, length) => new Uint8Array(vectors.buffer, at, length), progress: (done) => progress(done, size + others),
      }),
      [DOCUMENTS]: readHashed(join(folder, generation, DOCUMENTS), pieceBytes, {
        place: (_, length) => piece.subarray(0, length),
        taken: (bytes) => documents.add(bytes),
        progress: (done) => progress(size + done, size + others),
      }),
    };
  } catch (error) {
    if (error instanceof LocalError) throw error;
    return corrupt(`cannot be read (${messageOf(error)})`, error);
  }
  if (about.format !== FORMAT) corrupt(`has format ${about.format}, this release reads ${FORMAT}`);
  if (about.dimension !== schema.dimension) corrupt(`has dimension ${about.dimension}, the brain declares ${schema.dimension}`);
  for (const [name, digest] of Object.entries(digests)) if (about.digests[name] !== digest) corrupt(`has another ${name} than was written`);
  return { generation, index: new FlatIndex(vectors, schema.dimension, schema.similarity), documents: documents.documents };
}

function allocate({ name }: VectorIndexSchema, generation: string, bytes: number): Float32Array<ArrayBuffer> {
  const components = Math.floor(bytes / Float32Array.BYTES_PER_ELEMENT);
  const tooLarge = (cause?: unknown) => reject(
    'TOO_LARGE', `generation ${generation} of vector index '${name}' has ${bytes} bytes of vectors, for which there is no memory`, cause,
  );
  if (components > MOST_COMPONENTS) return tooLarge();
  try {
    return new Float32Array(components);
  } catch (error) {
    return tooLarge(error);
  }
}

interface PieceReader {
  /** Where the bytes from an offset on are put. */
  readonly place: (at: number, length: number) => Uint8Array;
  readonly taken?: (bytes: Uint8Array) => void;
  readonly progress: (done: number) => void;
}

/** Reads a file of any size in pieces: no buffer and no text holds as much as an array of floats does. Gives its digest. */
function readHashed(path: string, pieceBytes: number, { place, taken, progress }: PieceReader): string {
  const file = openSync(path, 'r');
  try {
    const { size } = fstatSync(file);
    const hash = createHash('sha256');
    for (let at = 0; at < size;) {
      const piece = place(at, Math.min(pieceBytes, size - at));
      const read = readSync(file, piece, 0, piece.length, at);
      if (read === 0) break;
      const bytes = piece.subarray(0, read);
      hash.update(bytes);
      taken?.(bytes);
      at += read;
      progress(at);
    }
    return hash.digest('hex');
  } finally {
    closeSync(file);
  }
}

const LINE_END = 0x0a;

/** Documents from the bytes of their lines, in pieces of any size. */
class DocumentReader {
  readonly documents: VectorDocument[] = [];
  /** Begin of a line that goes on in the next piece. */
  private rest: Buffer[] = [];

  add(piece: Uint8Array): void {
    let from = 0;
    for (let end = piece.indexOf(LINE_END); end >= 0; end = piece.indexOf(LINE_END, from)) {
      const line = Buffer.concat([...this.rest, piece.subarray(from, end)]);
      this.rest = [];
      this.documents.push(JSON.parse(line.toString('utf8')) as VectorDocument);
      from = end + 1;
    }
    // a copy: the piece is read over
    if (from < piece.length) this.rest.push(Buffer.from(piece.subarray(from)));
  }
}

function readAbout(folder: string, generation: string): About {
  return JSON.parse(readFileSync(join(folder, generation, ABOUT), 'utf8')) as About;
}

/** The generations of an index, newest first, in the shape that those in OpenSearch have. Exact search finds everything: recall is 1. */
export function listLocalGenerations(folder: string): Generation[] {
  const live = currentGeneration(folder);
  return generations(folder).sort((a, b) => b - a).map((number): Generation => {
    const generation = String(number);
    const { count } = readAbout(folder, generation);
    const builtAt = statSync(join(folder, generation, ABOUT)).mtime.toISOString();
    return { generation, state: generation === live ? 'live' : 'previous', documents: count, builtAt, recall: 1 };
  });
}

/**
 * Makes the other generation that is kept the one that answers, in one step. Only the holder of the index's lock does.
 * Fails with NO_PREVIOUS_GENERATION.
 */
export function returnToPreviousLocal(folder: string, index: string): { readonly from: string; readonly to: string } {
  const live = currentGeneration(folder);
  const other = listLocalGenerations(folder).find(({ generation }) => generation !== live);
  if (live === undefined || other === undefined) return reject('NO_PREVIOUS_GENERATION', `vector index '${index}' keeps no generation to go back to: import once more`);
  replaceFile(join(folder, CURRENT), `${other.generation}\n`);
  return { from: live, to: other.generation };
}

/** Builds one generation. Only the holder of the index's lock does. */
export class GenerationWriter {
  private readonly target: string;
  private readonly unfinished: string;
  private readonly vectors: SyncedFile;
  private readonly documents: SyncedFile;
  private count = 0;

  constructor(private readonly folder: string, private readonly schema: VectorIndexSchema) {
    mkdirSync(folder, { recursive: true });
    removeUnfinished(folder);
    this.target = String(Math.max(0, ...generations(folder)) + 1);
    this.unfinished = unfinishedPath(join(folder, this.target));
    mkdirSync(this.unfinished);
    this.vectors = new SyncedFile(join(this.unfinished, VECTORS));
    this.documents = new SyncedFile(join(this.unfinished, DOCUMENTS));
  }

  /** Adds components of vectors, row after row, in pieces of any size. */
  addComponents(components: Float32Array): void {
    this.vectors.write(Buffer.from(components.buffer, components.byteOffset, components.byteLength));
  }

  addDocuments(documents: readonly VectorDocument[]): void {
    this.count += documents.length;
    let lines = '';
    for (const document of documents) {
      lines += `${JSON.stringify(document)}\n`;
      if (lines.length < PIECE_BYTES) continue;
      this.documents.write(Buffer.from(lines));
      lines = '';
    }
    this.documents.write(Buffer.from(lines));
  }

  /** Makes it the generation that answers, in one step, and gives its name. */
  publish(): string {
    const digests = { [VECTORS]: this.vectors.close(), [DOCUMENTS]: this.documents.close() };
    const { dimension, similarity } = this.schema;
    writeSynced(join(this.unfinished, ABOUT), JSON.stringify({ format: FORMAT, dimension, similarity, count: this.count, digests } satisfies About));
    syncPath(this.unfinished);
    commit(this.unfinished, join(this.folder, this.target));
    // what answered until now is what there is to go back to, whether or not it is the newest of the others
    const kept = [this.target, currentGeneration(this.folder)];
    replaceFile(join(this.folder, CURRENT), `${this.target}\n`);
    for (const old of generations(this.folder).map(String)) if (!kept.includes(old)) this.remove(old);
    return this.target;
  }

  /** Removes what was written so far. */
  abandon(): void {
    this.vectors.close();
    this.documents.close();
    rmSync(this.unfinished, { recursive: true, force: true });
  }

  private remove(generation: string): void {
    // renamed first: a reader never finds half of it under its name
    const aside = unfinishedPath(join(this.folder, generation));
    renameSync(join(this.folder, generation), aside);
    rmSync(aside, { recursive: true, force: true });
  }
}

function generations(folder: string): number[] {
  return existsSync(folder) ? readdirSync(folder).filter((name) => /^[1-9][0-9]*$/.test(name)).map(Number) : [];
}

/** A file that is hashed while it is written. */
class SyncedFile {
  private readonly file: number;
  private readonly hash: Hash = createHash('sha256');
  private digest: string | undefined;

  constructor(path: string) {
    this.file = openSync(path, 'wx', 0o644);
  }

  write(bytes: Uint8Array): void {
    this.hash.update(bytes);
    for (let at = 0; at < bytes.length;) at += writeSync(this.file, bytes, at);
  }

  close(): string {
    if (this.digest === undefined) {
      fsyncSync(this.file);
      closeSync(this.file);
      this.digest = this.hash.digest('hex');
    }
    return this.digest;
  }
}
