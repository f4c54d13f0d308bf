/** Exact nearest neighbours for the training set: a k-d tree, because 120,000 queries by brute force would take most of a minute. */

const LEAF = 12;

/** Euclidean neighbours over a fixed set of points. Of two points at the same distance the earlier one comes first. */
export class NeighbourTree {
  private readonly dimension: number;
  private readonly order: Int32Array;
  private readonly axes: Int8Array;
  private readonly splits: Float64Array;

  constructor(private readonly points: readonly Float32Array[]) {
    this.dimension = points[0].length;
    this.order = Int32Array.from(points.keys());
    this.axes = new Int8Array(2 * points.length + 2).fill(-1);
    this.splits = new Float64Array(2 * points.length + 2);
    this.build(0, points.length, 1);
  }

  /** The `k` nearest points, nearest first, as indexes and squared distances. */
  nearest(query: Float32Array, k: number): { indexes: number[]; squaredDistances: number[] } {
    const indexes: number[] = [];
    const squaredDistances: number[] = [];
    const offer = (index: number) => {
      const point = this.points[index];
      let sum = 0;
      for (let d = 0; d < this.dimension; d++) {
        const difference = point[d] - query[d];
        sum += difference * difference;
      }
      const full = indexes.length === k;
      if (full && (sum > squaredDistances[k - 1] || (sum === squaredDistances[k - 1] && index > indexes[k - 1]))) return;
      let at = full ? k - 1 : indexes.length;
      while (at > 0 && (squaredDistances[at - 1] > sum || (squaredDistances[at - 1] === sum && indexes[at - 1] > index))) {
        squaredDistances[at] = squaredDistances[at - 1];
        indexes[at] = indexes[at - 1];
        at--;
      }
      squaredDistances[at] = sum;
      indexes[at] = index;
    };
    const visit = (from: number, to: number, node: number): void => {
      const axis = this.axes[node];
      if (axis === undefined || axis < 0) {
        for (let i = from; i < to; i++) offer(this.order[i]);
        return;
      }
      const middle = Math.floor((from + to) / 2);
      const gap = query[axis] - this.splits[node];
      if (gap < 0) visit(from, middle, 2 * node);
      else visit(middle, to, 2 * node + 1);
      if (indexes.length < k || gap * gap <= squaredDistances[k - 1]) {
        if (gap < 0) visit(middle, to, 2 * node + 1);
        else visit(from, middle, 2 * node);
      }
    };
    visit(0, this.order.length, 1);
    return { indexes, squaredDistances };
  }

  /** Splits `order[from, to)` at the median of its widest axis. */
  private build(from: number, to: number, node: number): void {
    if (to - from <= LEAF || node >= this.axes.length) return;
    let widest = 0;
    let width = -1;
    for (let d = 0; d < this.dimension; d++) {
      let low = Infinity;
      let high = -Infinity;
      for (let i = from; i < to; i++) {
        const value = this.points[this.order[i]][d];
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
      if (high - low > width) {
        width = high - low;
        widest = d;
      }
    }
    const middle = Math.floor((from + to) / 2);
    this.order.subarray(from, to).sort((a, b) => this.points[a][widest] - this.points[b][widest] || a - b);
    this.axes[node] = widest;
    this.splits[node] = this.points[this.order[middle]][widest];
    this.build(from, middle, 2 * node);
    this.build(middle, to, 2 * node + 1);
  }
}
