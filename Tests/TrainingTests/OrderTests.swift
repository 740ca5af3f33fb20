import Tensor
import TestSupport
import Testing
import Training

@Suite struct OrderTests {
  @Test func isABijection() {
    for count in 0...2000 {
      let order = ShuffledOrder(count: count, seed: UInt64(count) &* 31, epoch: 3)
      var seen = [Bool](repeating: false, count: count)
      for position in 0..<count {
        let value = order[position]
        guard value >= 0, value < count, !seen[value] else {
          Issue.record("\(count): position \(position) has \(value)")
          return
        }
        seen[value] = true
        if order.position(of: value) != position { Issue.record("\(count): \(value) is elsewhere") }
      }
    }
  }

  @Test(arguments: [1 << 20, 1 << 20 + 1, 1_000_003, 1 << 45, Int.max])
  func largeCounts(count: Int) {
    var random = RandomNumbers(seed: 6)
    let order = ShuffledOrder(count: count, seed: 1, epoch: 2)
    var values: Set<Int> = []
    var positions: Set<Int> = [0, count - 1]
    while positions.count < 10_000 {
      positions.insert(Int.random(in: 0..<count, using: &random))
    }
    for position in positions {
      let value = order[position]
      #expect(value >= 0 && value < count)
      values.insert(value)
      #expect(order.position(of: value) == position)
    }
    #expect(values.count == positions.count)
  }

  @Test func wholeMillion() {
    let count = 1 << 20
    let order = ShuffledOrder(count: count, seed: 9, epoch: 0)
    var seen = [Bool](repeating: false, count: count)
    for position in 0..<count { seen[order[position]] = true }
    #expect(seen.allSatisfy { $0 })
  }

  private func values(_ count: Int, seed: UInt64, epoch: UInt64) -> [Int] {
    let order = ShuffledOrder(count: count, seed: seed, epoch: epoch)
    return (0..<count).map { order[$0] }
  }

  @Test func seedAndEpochChangeIt() {
    var orders: Set<[Int]> = []
    for seed in 0..<20 as Range<UInt64> {
      for epoch in 0..<20 as Range<UInt64> {
        orders.insert(values(50, seed: seed, epoch: epoch))
      }
    }
    #expect(orders.count == 400)
    #expect(values(50, seed: 7, epoch: 7) == values(50, seed: 7, epoch: 7))
  }

  /// Checkpoints count on these.
  @Test func ordersArePinned() {
    #expect(values(10, seed: 1, epoch: 0) == [4, 6, 9, 8, 1, 3, 5, 0, 7, 2])
    #expect(values(10, seed: 1, epoch: 1) == [7, 0, 3, 9, 4, 8, 2, 1, 5, 6])
    #expect(ShuffledOrder(count: 1_000_000, seed: 42, epoch: 5)[123_456] == 15629)
  }

  /// Every value is about as often at every place.
  @Test(arguments: [2, 3, 5, 10, 16])
  func isUniform(count: Int) {
    let rounds = 20_000
    var counts = [Int](repeating: 0, count: count * count)
    var pairs = [Int](repeating: 0, count: count * count)
    for seed in 0..<rounds {
      let order = values(count, seed: UInt64(seed), epoch: 1)
      for (position, value) in order.enumerated() { counts[position * count + value] += 1 }
      pairs[order[0] * count + order[1]] += 1
    }
    // Five standard deviations.
    func check(_ counts: [Int], _ expected: Double) {
      for one in counts where one > 0 || expected == 0 {
        #expect(abs(Double(one) - expected) < 5 * expected.squareRoot())
      }
    }
    check(counts, Double(rounds) / Double(count))
    check(pairs, Double(rounds) / Double(count * (count - 1)))
    #expect(pairs.filter { $0 > 0 }.count == count * (count - 1))
  }

  @Test func splitIsExact() throws {
    let cases: [(Int, Double, Int)] = [
      (0, 0.5, 0), (1, 0.5, 0), (2, 0.5, 1), (2, 0.001, 1), (2, 0.999, 1), (10, 0, 0), (10, 0.1, 1),
      (10, 0.25, 3), (10, 0.24, 2), (1000, 0.05, 50), (3, 0.9, 2), (7, 1e-300, 1),
      (1 << 40, 0.5, 1 << 39),
    ]
    for (count, fraction, wanted) in cases {
      let split = try DataSplit(count: count, fraction: fraction, seed: 3)
      #expect(split.evaluationCount == wanted, "\(count) × \(fraction)")
      #expect(split.trainingCount == count - wanted)
    }
    _ = try DataSplit(count: .max, fraction: 1.0.nextDown, seed: 0)
    for fraction in [-0.1, 1, 2, .nan, .infinity, -.infinity] {
      expectError(.invalidArgument, "fraction") { () throws(IVGError) in
        try DataSplit(count: 10, fraction: fraction, seed: 3)
      }
    }
    expectError(.invalidArgument, "-1") { () throws(IVGError) in
      try DataSplit(count: -1, fraction: 0, seed: 3)
    }
  }

  @Test func splitParts() throws {
    for count in [2, 3, 17, 1000] {
      let split = try DataSplit(count: count, fraction: 0.2, seed: 8)
      let evaluation = (0..<split.evaluationCount).map { split.evaluation($0) }
      let training = (0..<split.trainingCount).map { split.training($0) }
      #expect((evaluation + training).sorted() == Array(0..<count))
      for example in evaluation { #expect(split.isEvaluation(example)) }
      for example in training { #expect(!split.isEvaluation(example)) }
    }
    func part(_ seed: UInt64) throws -> Set<Int> {
      let split = try DataSplit(count: 1000, fraction: 0.1, seed: seed)
      return Set((0..<100).map { split.evaluation($0) })
    }
    #expect(try part(1) == part(1))
    #expect(try part(1).intersection(part(2)).count < 40)
  }
}
