/**
 * Search by words: what OpenSearch does with a `text` field, for indexes in memory.
 *
 * Words are those of Unicode Annex 29 in lower case, as the standard analyzer finds them; scores are Okapi BM25 with Lucene's constants, summed over
 * fields (`most_fields`). Lucene rounds the length of a text beyond 40 words, so that scores differ a little there; only ranks are used.
 */
import type { FeatureValue, VectorIndexSchema } from '../../src/contract';

/** Words of a query that count, and characters of it that are looked at: a store bounds the clauses of one query (1024), and so does time. */
const MOST_WORDS = 64;
const MOST_CHARACTERS = 4096;

/** Lucene's `BM25Similarity`: how soon a word that is repeated counts no more, and how far long texts count less. */
const K1 = 1.2;
const B = 0.75;

const WORDS = new Intl.Segmenter('en', { granularity: 'word' });

const UNDERLINES = /^_+$/;

/** The same of plain ASCII, 17 times as fast: what joins letters, and what joins digits, is part of a word only between them. */
const PLAIN = /^[\0-\x7f]*$/;
const PLAIN_WORDS = /(?:[A-Za-z0-9_]|(?<=[A-Za-z])[.':](?=[A-Za-z])|(?<=[0-9])[.,;'](?=[0-9]))+/g;

export function wordsOf(text: string, most = Infinity): string[] {
  if (PLAIN.test(text)) return (text.toLowerCase().match(PLAIN_WORDS) ?? []).filter((word) => !UNDERLINES.test(word)).slice(0, most);
  return segmentsOf(text, most);
}

/** By Unicode's rules, for any text. */
export function segmentsOf(text: string, most = Infinity): string[] {
  const words: string[] = [];
  for (const { segment, isWordLike } of WORDS.segment(text)) {
    // the standard analyzer takes underlines alone for no word
    if (!isWordLike || UNDERLINES.test(segment)) continue;
    words.push(segment.toLowerCase());
    if (words.length === most) break;
  }
  return words;
}

/** The words of a query that are searched for, the first of them; the same in every store. */
export function queryWords(text: string): string[] {
  return wordsOf(text.slice(0, MOST_CHARACTERS), MOST_WORDS);
}

/** Names of the fields that are searched by words. */
export function textFields({ fields }: Pick<VectorIndexSchema, 'fields'>): string[] {
  return fields.filter(({ type }) => type === 'text').map(({ name }) => name);
}

/** Where a word stands in a field: documents, in their order, and how often. */
interface Postings {
  readonly documents: number[];
  readonly counts: number[];
}

class FieldIndex {
  private readonly words = new Map<string, Postings>();
  private readonly lengths: Uint32Array;
  private texts = 0;
  private total = 0;

  constructor(texts: readonly (string | undefined)[]) {
    this.lengths = new Uint32Array(texts.length);
    for (const [document, text] of texts.entries()) if (text !== undefined) this.add(document, wordsOf(text));
  }

  /** Adds what the documents score by this field. */
  score(words: readonly string[], scores: Map<number, number>): void {
    for (const word of words) {
      const found = this.words.get(word);
      if (!found) continue;
      const { documents, counts } = found;
      const idf = Math.log(1 + (this.texts - documents.length + 0.5) / (documents.length + 0.5));
      for (let at = 0; at < documents.length; at++) {
        const relative = this.lengths[documents[at]] * this.texts / this.total;
        const score = idf * counts[at] / (counts[at] + K1 * (1 - B + B * relative));
        scores.set(documents[at], (scores.get(documents[at]) ?? 0) + score);
      }
    }
  }

  private add(document: number, words: readonly string[]): void {
    if (words.length === 0) return;
    this.texts++;
    this.total += words.length;
    this.lengths[document] = words.length;
    for (const word of words) {
      let postings = this.words.get(word);
      if (!postings) this.words.set(word, postings = { documents: [], counts: [] });
      if (postings.documents.at(-1) === document) {
        postings.counts[postings.counts.length - 1]++;
      } else {
        postings.documents.push(document);
        postings.counts.push(1);
      }
    }
  }
}

export class LexicalIndex {
  private readonly fields: readonly FieldIndex[];

  constructor(schema: Pick<VectorIndexSchema, 'fields'>, documents: readonly Readonly<Record<string, FeatureValue>>[]) {
    this.fields = textFields(schema).map((name) => new FieldIndex(documents.map(({ [name]: text }) => (typeof text === 'string' ? text : undefined))));
  }

  /** Positions of the documents that have one of the words, best first. @param passing 1 for each document that may be found */
  search(words: readonly string[], most: number, passing?: Uint8Array): { readonly position: number; readonly score: number }[] {
    const scores = new Map<number, number>();
    for (const field of this.fields) field.score(words, scores);
    const found = [...scores].filter(([position]) => passing === undefined || passing[position] === 1);
    found.sort(([a, one], [b, other]) => other - one || a - b);
    return found.slice(0, most).map(([position, score]) => ({ position, score }));
  }
}
