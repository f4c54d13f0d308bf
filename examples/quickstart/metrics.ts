/** How good probabilities are on rows whose outcome is known. */

export interface Scores {
  /** Mean negative log likelihood in nats; less is better. */
  readonly logLoss: number;
  /** Mean squared error of the probability (Brier 1950); less is better. */
  readonly brier: number;
  /** Chance that a late flight gets a higher probability than a punctual one; ties count half; more is better. */
  readonly auc: number;
}

export function score(probabilities: ArrayLike<number>, labels: ArrayLike<number>): Scores {
  let logLoss = 0;
  let brier = 0;
  for (let i = 0; i < labels.length; i++) {
    logLoss -= Math.log(labels[i] === 1 ? probabilities[i] : 1 - probabilities[i]);
    brier += (probabilities[i] - labels[i]) ** 2;
  }
  return { logLoss: logLoss / labels.length, brier: brier / labels.length, auc: areaUnderCurve(probabilities, labels) };
}

/** Mann–Whitney U over the product of the class sizes, with mean ranks for ties. */
function areaUnderCurve(probabilities: ArrayLike<number>, labels: ArrayLike<number>): number {
  const order = Array.from(labels, (_, i) => i).sort((a, b) => probabilities[a] - probabilities[b]);
  let positives = 0;
  let rankSum = 0;
  for (let from = 0; from < order.length;) {
    let to = from;
    while (to < order.length && probabilities[order[to]] === probabilities[order[from]]) to++;
    const meanRank = (from + 1 + to) / 2;
    for (let i = from; i < to; i++) {
      if (labels[order[i]] === 1) {
        positives++;
        rankSum += meanRank;
      }
    }
    from = to;
  }
  return (rankSum - positives * (positives + 1) / 2) / (positives * (order.length - positives));
}
