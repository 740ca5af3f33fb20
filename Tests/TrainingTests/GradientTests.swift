import GGUF
import Glibc
import Tensor
import TestSupport
import Testing
import Training
import Transformer

/// A tiny model with a trainable adapter of random numbers, and the same in double precision.
final class GradientRig {
  let trunk: Trunk
  let vector: ParameterVector
  let adapter: TrainableAdapter
  let twin: SlowTwin
  let cancel = CancelFlag()
  private let model: Model
  private(set) var names: [(stem: String, part: String, range: Range<Int>, rank: Int)] = []

  init(_ fixture: String, projections: Set<Projection> = Set(Projection.allCases), rank: Int = 2)
    throws
  {
    model = try Model(path: fixture.hasPrefix("/") ? fixture : Fixtures.path(fixture))
    trunk = model.trunk!
    let shape = TrainableAdapter.Shape(projections: projections, rank: rank, alpha: 3)
    vector = try ParameterVector(count: shape.count(trunk))
    adapter = TrainableAdapter(shape: shape, trunk: trunk, vector: vector, offset: 0)
    twin = try SlowTwin(
      fixture.hasPrefix("/") ? "tiny-llama.gguf" : fixture, halfCache: false, roundedInputs: false)
    var random = RandomNumbers(seed: 7)
    for index in 0..<vector.count { vector.values.pointer[index] = random.float(0.3) }
    var next = 0
    for layer in 0..<trunk.configuration.layerCount {
      for projection in Projection.allCases where projections.contains(projection) {
        let (outputs, columns) = projection.shape(trunk.configuration)
        for (part, width) in [("a", columns), ("b", outputs)] {
          names.append(
            ("blk.\(layer).\(projection.tensorName)", part, next..<next + rank * width, rank))
          next += rank * width
        }
      }
    }
    #expect(next == vector.count)
  }

  func pass(rows: Int = 64, threads: Int = 1, kept: Int = 99, dropout: Bool = false) throws
    -> TrainingPass
  {
    var plan = PassPlan(
      trunk: trunk, rows: rows, wanted: rows, longest: rows, rank: adapter.shape.rank,
      workers: threads, hasDropout: dropout)
    plan.keptLayers = min(kept, trunk.configuration.layerCount)
    return try TrainingPass(
      plan: plan, team: ThreadTeam(threadCount: threads), adapter: adapter)
  }

  /// Sets the twin's deltas to the vector's numbers plus `step` times `direction`.
  func setTwin(_ direction: [Double]? = nil, _ step: Double = 0) {
    func value(_ index: Int) -> Double {
      Double(vector.values.pointer[index]) + step * (direction?[index] ?? 0)
    }
    let scale = Double(adapter.shape.alpha) / Double(adapter.shape.rank)
    for pair in stride(from: 0, to: names.count, by: 2) {
      let (stem, _, a, rank) = names[pair]
      let b = names[pair + 1].range
      let columns = a.count / rank
      let outputs = b.count / rank
      twin.deltas[stem] = (
        a: (0..<rank).map { r in (0..<columns).map { value(a.lowerBound + r * columns + $0) } },
        b: (0..<outputs).map { o in (0..<rank).map { value(b.lowerBound + $0 * outputs + o) } },
        scale: scale
      )
    }
  }
}

/// Two sequences; the loss is a weighted sum of log-probabilities of some next tokens.
private struct WeightedLoss {
  let sequences: [[Int32]]
  let weights: [[Double]]

  init(seed: UInt64 = 3) {
    var random = RandomNumbers(seed: seed)
    let drawn = [13, 7].map { count in
      (0..<count).map { _ in Int32.random(in: 3..<300, using: &random) }
    }
    sequences = drawn
    weights = drawn.map { $0.dropLast().map { _ in Double(random.float()) } }
  }

  func reference(_ twin: SlowTwin) throws -> Double {
    var total = 0.0
    for (tokens, weights) in zip(sequences, weights) {
      let finals = try twin.finals(tokens)
      for (index, weight) in weights.enumerated() where index > 1 {
        total += weight * twin.logProbability(of: tokens[index + 1], after: finals[index])
      }
    }
    return total
  }

  /// The loss by the pass, and its gradients added to the vector.
  func run(_ pass: TrainingPass, dropout: Float = 0) throws -> Double {
    var batch = PackedBatch()
    var wanted: [Int] = []
    var targets: [Int32] = []
    var scales: [Double] = []
    for (number, (tokens, weights)) in zip(sequences, weights).enumerated() {
      let rows = batch.append(tokens, key: UInt64(number + 1))
      for (index, weight) in weights.enumerated() where index > 1 {
        wanted.append(rows.lowerBound + index)
        targets.append(tokens[index + 1])
        scales.append(weight)
      }
    }
    let cancel = CancelFlag()
    try pass.forward(batch, wanted: wanted, dropout: dropout, cancel: cancel)
    let values = try pass.logProbabilities(of: targets, derives: true, cancel: cancel)
    let size = pass.plan.hiddenSize
    for (index, scale) in scales.enumerated() {
      for column in 0..<size { pass.directions[index * size + column] *= Float(scale) }
    }
    try pass.backward(cancel: cancel)
    return zip(values, scales).reduce(0) { $0 + $1.0 * $1.1 }
  }
}

/// Every gradient against central differences in double precision: of each tensor the derivative along
/// random directions, which no wrong element survives, and single elements.
@Test(arguments: [
  "tiny-llama.gguf", "tiny-qwen2.gguf", "tiny-llama-q4_0.gguf", "tiny-llama-q8_0.gguf",
])
func gradientsAreCentralDifferences(_ fixture: String) throws {
  let rig = try GradientRig(fixture)
  let loss = WeightedLoss()
  let value = try loss.run(rig.pass())
  rig.setTwin()
  let reference = try loss.reference(rig.twin)
  #expect(abs(value - reference) < 1e-4 * max(1, abs(reference)))
  let gradient = (0..<rig.vector.count).map { Double(rig.vector.gradients.pointer[$0]) }
  var random = RandomNumbers(seed: 11)
  for (stem, part, range, _) in rig.names {
    let norm = gradient[range].reduce(0) { $0 + $1 * $1 }.squareRoot()
    #expect(norm > 0, "\(stem) \(part)")
    for trial in 0..<3 {
      var direction = [Double](repeating: 0, count: rig.vector.count)
      if trial < 2 {
        for index in range { direction[index] = Double(random.float()) }
      } else {
        direction[Int.random(in: range, using: &random)] = 1
      }
      let length = direction.reduce(0) { $0 + $1 * $1 }.squareRoot()
      let step = 1e-4 / length
      rig.setTwin(direction, step)
      let up = try loss.reference(rig.twin)
      rig.setTwin(direction, -step)
      let down = try loss.reference(rig.twin)
      let difference = (up - down) / (2 * step)
      let analytic = zip(gradient, direction).reduce(0) { $0 + $1.0 * $1.1 }
      #expect(
        abs(difference - analytic) < 2e-4 * norm * length + 1e-7,
        "\(stem) \(part): \(analytic), by differences \(difference), norm \(norm)")
    }
  }
}

/// Gradients of a whole run of the loss, as bits.
private func bits(_ rig: GradientRig, _ pass: TrainingPass, dropout: Float = 0) throws -> [UInt32] {
  rig.vector.clearGradients()
  _ = try WeightedLoss().run(pass, dropout: dropout)
  return (0..<rig.vector.count).map { rig.vector.gradients.pointer[$0].bitPattern }
}

/// Projections of one input in types whose blocks differ: products that add to the same numbers must divide
/// them alike.
@Test func threadsChangeNoBitOfMixedTypes() throws {
  var template = temporaryTemplate("mixed")
  let descriptor = mkstemp(&template)
  let path = String(cString: template)
  defer {
    close(descriptor)
    unlink(path)
  }
  try writeMixedModel(path)
  let rig = try GradientRig(path)
  let first = try bits(rig, rig.pass())
  #expect(first.contains { $0 != 0 } && first.allSatisfy { Float(bitPattern: $0).isFinite })
  for threads in 2...5 {
    for _ in 0..<3 { #expect(try bits(rig, rig.pass(threads: threads)) == first, "\(threads)") }
  }
}

/// A llama with a hidden size of 256 and the tokenizer of `tiny-llama.gguf`.
private func writeMixedModel(_ path: String) throws {
  let tiny = try GGUFFile(path: Fixtures.path("tiny-llama.gguf"))
  var writer = GGUFWriter()
  writer.set(tiny.metadata)
  let sizes = [
    "block_count": 2, "embedding_length": 256, "feed_forward_length": 512,
    "attention.head_count": 4, "attention.head_count_kv": 2, "rope.dimension_count": 64,
  ]
  for (key, value) in sizes { writer.set("llama." + key, .uint32(UInt32(value))) }
  var random = RandomNumbers(seed: 2)
  func add(_ name: String, _ type: TensorType, _ rows: Int, _ columns: Int) {
    let bytes = ReferenceKernels.weights(
      type, rows: rows, columns: columns, scale: 0.001, random: &random)
    writer.add(name, type: type, shape: [columns, rows], data: bytes)
  }
  func addNorm(_ name: String) {
    let ones = [Float](repeating: 1, count: 256).withUnsafeBytes { Array($0) }
    writer.add(name, type: .f32, shape: [256], data: ones)
  }
  add("token_embd.weight", .f16, 320, 256)
  addNorm("output_norm.weight")
  for layer in 0..<2 {
    let stem = "blk.\(layer)."
    addNorm(stem + "attn_norm.weight")
    addNorm(stem + "ffn_norm.weight")
    add(stem + "attn_q.weight", .f16, 256, 256)
    add(stem + "attn_k.weight", .q8_0, 128, 256)
    add(stem + "attn_v.weight", .q6_K, 128, 256)
    add(stem + "attn_output.weight", .q4_0, 256, 256)
    add(stem + "ffn_gate.weight", .q4_K, 512, 256)
    add(stem + "ffn_up.weight", .f16, 512, 256)
    add(stem + "ffn_down.weight", .q5_K, 256, 512)
  }
  try writer.write(to: path)
}

@Test(arguments: [Float(0), 0.3])
func threadsAndCheckpointsChangeNoBit(_ dropout: Float) throws {
  for fixture in ["tiny-llama-q4_0.gguf", "tiny-qwen2.gguf"] {
    let rig = try GradientRig(fixture)
    let first = try bits(rig, rig.pass(dropout: dropout > 0), dropout: dropout)
    for (threads, kept) in [(1, 0), (2, 99), (3, 0), (5, 1)] {
      let pass = try rig.pass(threads: threads, kept: kept, dropout: dropout > 0)
      #expect(try bits(rig, pass, dropout: dropout) == first, "\(threads) threads, \(kept) kept")
    }
  }
}

/// With dropout the gradient is that of the loss with the same numbers dropped: a central difference of the
/// pass itself, whose forward part the test above has compared.
@Test func gradientsWithDropout() throws {
  let rig = try GradientRig("tiny-llama.gguf", rank: 3)
  let pass = try rig.pass(dropout: true)
  let loss = WeightedLoss()
  let plain = try loss.run(pass)
  rig.vector.clearGradients()
  let dropped = try loss.run(pass, dropout: 0.4)
  #expect(abs(plain - dropped) > 1e-3)
  let gradient = (0..<rig.vector.count).map { Double(rig.vector.gradients.pointer[$0]) }
  let values = (0..<rig.vector.count).map { rig.vector.values.pointer[$0] }
  var random = RandomNumbers(seed: 5)
  for (stem, part, range, _) in rig.names {
    let direction = range.map { _ in Double(random.float()) }
    let length = direction.reduce(0) { $0 + $1 * $1 }.squareRoot()
    let step = 2e-2 / length
    func shifted(_ sign: Double) throws -> Double {
      for (index, place) in range.enumerated() {
        rig.vector.values.pointer[place] = Float(
          Double(values[place]) + sign * step * direction[index])
      }
      defer { for place in range { rig.vector.values.pointer[place] = values[place] } }
      return try loss.run(pass, dropout: 0.4)
    }
    let difference = try (shifted(1) - shifted(-1)) / (2 * step)
    let analytic = zip(range, direction).reduce(0) { $0 + gradient[$1.0] * $1.1 }
    let norm = gradient[range].reduce(0) { $0 + $1 * $1 }.squareRoot()
    #expect(
      abs(difference - analytic) < 5e-3 * norm * length + 1e-3,
      "\(stem) \(part): \(analytic), by differences \(difference)")
  }
}
