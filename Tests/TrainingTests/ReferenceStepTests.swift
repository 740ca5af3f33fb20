import Foundation
import Glibc
import Tensor
import TestSupport
import Testing
import Training
import Transformer

/// One whole training step on SmolLM2 against PyTorch and peft in double precision: losses, log-probabilities
/// and the gradient of every adapter tensor. The fixture's maker says what its figures are.
struct ReferenceStepTests {
  private struct Fixture: Decodable {
    struct Pair: Decodable { let prompt_ids, chosen_ids, rejected_ids: [Int32] }
    struct Sides: Decodable { let chosen, rejected: [Double] }
    struct Preference: Decodable {
      let loss: Double
      let policy, reference: Sides
      let gradients: [String: [Double]]
    }
    struct Supervised: Decodable {
      let loss: Double
      let tokens: Int
      let gradients: [String: [Double]]
    }
    struct Reward: Decodable {
      let loss: Double
      let rewards: Sides
      let head_weight_gradient: [Double]
      let gradients: [String: [Double]]
    }
    let adapter: String
    let rank: Int
    let alpha, beta: Float
    let pairs: [Pair]
    let head_weight: [Float]
    let dpo: Preference
    let sft: Supervised
    let reward: Reward
  }

  /// The model, the adapter at which gradients are taken, and the pairs.
  private final class Step {
    let fixture: Fixture
    let trunk: Trunk
    let vector: ParameterVector
    let adapter: TrainableAdapter
    let head: TrainableHead
    let batch: MicroBatch
    let objective: ObjectivePass
    private let model: Model

    init?(_ objective: Objective) throws {
      let data = try Data(contentsOf: URL(filePath: Fixtures.path("training-reference.json")))
      fixture = try JSONDecoder().decode(Fixture.self, from: data)
      guard let path = Models.path("Q4_1") else { return nil }
      model = try Model(path: path)
      trunk = model.trunk!
      let shape = TrainableAdapter.Shape(
        projections: Set(Projection.allCases), rank: fixture.rank, alpha: fixture.alpha)
      let own = shape.count(trunk)
      vector = try ParameterVector(count: own + TrainableHead.count(.scalar, trunk))
      adapter = TrainableAdapter(shape: shape, trunk: trunk, vector: vector, offset: 0)
      try adapter.load(Adapter(path: Fixtures.path(fixture.adapter), trunk: trunk))
      head = TrainableHead(kind: .scalar, trunk: trunk, vector: vector, offset: own)
      for (index, weight) in fixture.head_weight.enumerated() {
        vector.values.pointer[own + index] = weight
      }
      var options = TrainerOptions()
      options.objective = objective
      options.loss = objective.losses.first
      options.beta = fixture.beta
      let examples = fixture.pairs.enumerated().map { number, pair in
        TrainingExample(
          number: number,
          sequences: [pair.chosen_ids, pair.rejected_ids].map {
            EncodedSequence(
              tokens: pair.prompt_ids + $0, completionStart: pair.prompt_ids.count)
          })
      }
      batch = MicroBatch.divide(examples, rows: 1024, options: options)[0]
      let plan = PassPlan(
        trunk: trunk, rows: 400, wanted: 400, longest: 128, rank: fixture.rank, workers: 2)
      let pass = try TrainingPass(
        plan: plan, team: ThreadTeam(threadCount: 2), adapter: adapter)
      self.objective = ObjectivePass(
        options: options, trunk: trunk, pass: pass,
        head: objective == .reward ? head : nil, cancel: CancelFlag())
    }

    /// The norm of every adapter tensor's gradient and its products with four fixed vectors.
    func check(_ expected: [String: [Double]]) {
      var next = 0
      var worst = 0.0
      for layer in 0..<trunk.configuration.layerCount {
        for projection in Projection.allCases {
          let (outputs, columns) = projection.shape(trunk.configuration)
          let rank = fixture.rank
          let stem = "blk.\(layer).\(projection.tensorName).weight"
          let g = vector.gradients.pointer
          let first = next
          let second = next + rank * columns
          let a = (0..<rank * columns).map { Double(g[first + $0]) }
          // B lies transposed here.
          let b = (0..<rank * outputs).map { Double(g[second + $0 % rank * outputs + $0 / rank]) }
          for (name, gradient) in [(stem + ".lora_a", a), (stem + ".lora_b", b)] {
            worst = max(worst, difference(gradient, expected[name]!, name))
          }
          next = second + rank * outputs
        }
      }
      print("largest difference of a gradient, relative to its norm: \(worst)")
    }

    private func difference(_ gradient: [Double], _ expected: [Double], _ name: String) -> Double {
      let norm = gradient.reduce(0) { $0 + $1 * $1 }.squareRoot()
      var worst = abs(norm - expected[0]) / expected[0]
      for vector in 0..<4 {
        var product = 0.0
        for (index, value) in gradient.enumerated() {
          product += value * Self.element(vector, index)
        }
        // An error |e| of the gradient changes a product by about |e| / √3.
        worst = max(worst, abs(product - expected[1 + vector]) * 3.0.squareRoot() / expected[0])
      }
      #expect(worst < 1e-3, "\(name)")
      return worst
    }

    private static func element(_ vector: Int, _ index: Int) -> Double {
      var z = ((UInt64(vector) << 32) + UInt64(index) + 1) &* 0x9e37_79b9_7f4a_7c15
      z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
      z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
      z = z ^ z >> 31
      return Double(z >> 11) * 0x1p-52 - 1
    }
  }

  @Test func preference() throws {
    guard let step = try Step(.preference) else { return }
    let expected = step.fixture.dpo
    let reference = zip(expected.reference.chosen, expected.reference.rejected).map { [$0, $1] }
    let sums = try step.objective.logProbabilities(step.batch)
    for (index, sum) in sums.enumerated() {
      #expect(abs(sum[0] - expected.policy.chosen[index]) < 1e-4 * abs(sum[0]))
      #expect(abs(sum[1] - expected.policy.rejected[index]) < 1e-4 * abs(sum[1]))
    }
    let figures = try step.objective.compute(
      step.batch, weight: 1 / 4, reference: { reference[$0.number] }, derives: true)
    #expect(abs(figures.loss - expected.loss) < 1e-3 * expected.loss)
    step.check(expected.gradients)
  }

  @Test func supervised() throws {
    guard let step = try Step(.supervised) else { return }
    let expected = step.fixture.sft
    let figures = try step.objective.compute(
      step.batch, weight: 1 / Double(expected.tokens), derives: true)
    #expect(abs(figures.loss - expected.loss) < 1e-3 * expected.loss)
    step.check(expected.gradients)
  }

  @Test func reward() throws {
    guard let step = try Step(.reward) else { return }
    let expected = step.fixture.reward
    let figures = try step.objective.compute(step.batch, weight: 1 / 4, derives: true)
    #expect(abs(figures.loss - expected.loss) < 1e-3 * expected.loss)
    #expect(abs(figures.chosen - expected.rewards.chosen.reduce(0, +)) < 1e-3)
    step.check(expected.gradients)
    let size = step.fixture.head_weight.count
    let norm = expected.head_weight_gradient.reduce(0) { $0 + $1 * $1 }.squareRoot()
    let offset = step.vector.count - size - 1
    var error = 0.0
    for (index, wanted) in expected.head_weight_gradient.enumerated() {
      let distance = Double(step.vector.gradients.pointer[offset + index]) - wanted
      error += distance * distance
    }
    #expect(error.squareRoot() < 1e-3 * norm)
  }
}
