/// What examples add up to.
package struct Figures {
  /// The loss, weighted.
  package var loss = 0.0
  var tokenCount = 0
  var pairCount = 0
  /// Pairs in which chosen is above rejected.
  var orderedCount = 0
  var margin = 0.0
  package var chosen = 0.0
  package var rejected = 0.0
  /// The sum of divergences, and of how many tokens.
  var divergence = 0.0
  var divergenceCount = 0
  /// The value of each last prefix, and its reward.
  package var values: [Double] = []
  var rewards: [Double] = []

  mutating func add(_ other: Figures) {
    loss += other.loss
    tokenCount += other.tokenCount
    pairCount += other.pairCount
    orderedCount += other.orderedCount
    margin += other.margin
    chosen += other.chosen
    rejected += other.rejected
    divergence += other.divergence
    divergenceCount += other.divergenceCount
    values += other.values
    rewards += other.rewards
  }

  mutating func addPair(chosen: Double, rejected: Double) {
    pairCount += 1
    orderedCount += chosen > rejected ? 1 : 0
    margin += chosen - rejected
    self.chosen += chosen
    self.rejected += rejected
  }

  /// Puts the means into a report.
  func fill(_ report: inout TrainerReport) {
    report.loss = loss
    report.tokenCount = tokenCount
    if pairCount > 0 {
      report.accuracy = Double(orderedCount) / Double(pairCount)
      report.margin = margin / Double(pairCount)
      report.chosen = chosen / Double(pairCount)
      report.rejected = rejected / Double(pairCount)
    }
    if divergenceCount > 0 { report.divergence = divergence / Double(divergenceCount) }
    guard report.kind == .evaluate, values.count > 1 else { return }
    report.correlation = Self.correlation(values, rewards)
    report.accuracy = Self.ordered(values, rewards)
  }

  /// Pearson's.
  private static func correlation(_ x: [Double], _ y: [Double]) -> Double {
    let count = Double(x.count)
    let (meanX, meanY) = (x.reduce(0, +) / count, y.reduce(0, +) / count)
    var (xy, xx, yy) = (0.0, 0.0, 0.0)
    for (a, b) in zip(x, y) {
      xy += (a - meanX) * (b - meanY)
      xx += (a - meanX) * (a - meanX)
      yy += (b - meanY) * (b - meanY)
    }
    return xx > 0 && yy > 0 ? xy / (xx * yy).squareRoot() : .nan
  }

  /// The share of neighbours, two by two, whose values are ordered as their rewards.
  private static func ordered(_ values: [Double], _ rewards: [Double]) -> Double {
    var (count, right) = (0, 0)
    for index in stride(from: 0, to: values.count - 1, by: 2) {
      let wanted = rewards[index] - rewards[index + 1]
      guard wanted != 0 else { continue }
      count += 1
      right += (values[index] - values[index + 1]) * wanted > 0 ? 1 : 0
    }
    return count > 0 ? Double(right) / Double(count) : .nan
  }
}
