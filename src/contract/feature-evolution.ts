/** How a feature group may change: the one rule that synth, the tables' handler and the lock file ask. */
import { OfflineTableColumn } from './offline-table';

/** What became of a table's columns. */
export interface ColumnChanges {
  /** New at the end: null in every row that is there. */
  readonly added: readonly OfflineTableColumn[];
  /** Breaks whoever reads them: only a new version of the group may. */
  readonly dropped: readonly string[];
  /** Breaks readers and rows that are there: only a new version of the group may. */
  readonly retyped: readonly { readonly name: string; readonly before: string; readonly after: string }[];
  /** An entity key that was none: the rows that are there have no value for it. */
  readonly rekeyed: readonly string[];
}

/** A column as somebody knows it; the types need only be comparable with each other. */
export interface KnownColumn {
  readonly name: string;
  readonly type: string;
}

/** Compares what is there with what is wanted. @param typeOf the type of a wanted column, in the words in which the known ones are */
export function columnChanges(
  before: readonly KnownColumn[], after: readonly OfflineTableColumn[], typeOf: (column: OfflineTableColumn) => string = ({ type }) => type,
): ColumnChanges {
  const known = new Map(before.map(({ name, type }) => [name, type]));
  const wanted = new Set(after.map(({ name }) => name));
  const fresh = after.filter(({ name }) => !known.has(name));
  return {
    added: fresh.filter(({ required }) => !required),
    rekeyed: fresh.filter(({ required }) => required).map(({ name }) => name),
    dropped: before.filter(({ name }) => !wanted.has(name)).map(({ name }) => name),
    retyped: after.flatMap((column) => {
      const type = known.get(column.name);
      return type === undefined || type === typeOf(column) ? [] : [{ name: column.name, before: type, after: typeOf(column) }];
    }),
  };
}

/** What the changes break, in words; undefined where they only add. */
export function breakage({ dropped, retyped, rekeyed }: ColumnChanges): string | undefined {
  const parts = [
    ...dropped.length > 0 ? [`drops ${dropped.join(', ')}`] : [],
    ...retyped.length > 0 ? [`retypes ${retyped.map(({ name, before, after }) => `${name} from ${before} to ${after}`).join(', ')}`] : [],
    ...rekeyed.length > 0 ? [`adds the key ${rekeyed.join(', ')}`] : [],
  ];
  return parts.length === 0 ? undefined : parts.join(', ');
}
