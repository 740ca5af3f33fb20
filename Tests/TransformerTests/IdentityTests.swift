import Tensor
import TestSupport
import Testing
import Transformer

/// A row's result depends on its own sequence only, to the last bit.
@Suite struct IdentityTests {
  static let files = [
    "tiny-llama.gguf", "tiny-llama-q8_0.gguf", "tiny-llama-q4_0.gguf", "tiny-llama-untuned.gguf",
    "tiny-qwen2.gguf",
  ]

  /// 150 tokens are more than one slice of a batch holds.
  @Test(arguments: files)
  func slicing(file: String) throws {
    let rig = try Rig(file)
    let text = tokens(150, seed: 1)
    let whole = try rig.fresh(text)
    for batches in [[1], [16], [64], [63, 2], [7, 40, 1]] {
      #expect(bits(try rig.fresh(text, batches: batches)) == bits(whole), "\(batches)")
    }
  }

  @Test(arguments: files, [2, 3])
  func threads(file: String, count: Int) throws {
    let text = tokens(90, seed: 2)
    let alone = try Rig(file)
    let team = try Rig(file, threads: count)
    #expect(bits(try team.fresh(text)) == bits(try alone.fresh(text)))
    #expect(bits(try team.fresh(text, batches: [1])) == bits(try alone.fresh(text)))
  }

  @Test(arguments: [1, 2, 3])
  func threadsWithAdapter(count: Int) throws {
    let text = tokens(70, seed: 3)
    let alone = try Rig()
    let team = try Rig(threads: count)
    let expected = try alone.fresh(text, adapter: alone.adapter())
    #expect(bits(try team.fresh(text, adapter: team.adapter())) == bits(expected))
    #expect(bits(try team.fresh(text, adapter: team.adapter(), batches: [3])) == bits(expected))
    #expect(try bits(alone.fresh(text)) != bits(expected))
  }

  /// Six sequences with two adapters and none, tokens interleaved at random over batches of random
  /// size, with and without outputs between: each equals its run alone.
  @Test(arguments: [1, 2, 3])
  func company(threads: Int) throws {
    let rig = try Rig(threads: threads)
    let engine = rig.engine
    let head = try rig.head("tiny-value-lora.gguf")
    let headID = engine.register(head)
    let scalar = engine.register(try rig.head("tiny-value-scalar.gguf"))
    let adapters = [nil, try rig.adapter(), head.adapter]
    var random = RandomNumbers(seed: UInt64(threads))
    let texts = (0..<6).map { tokens(20 + 5 * $0, seed: 10 + UInt64($0)) }
    let alone = try texts.indices.map { try rig.fresh(texts[$0], adapter: adapters[$0 % 3]) }
    let sequences = texts.indices.map { engine.makeSequence(adapter: adapters[$0 % 3]) }
    var rows = texts.map { [[Float]?](repeating: nil, count: $0.count) }
    while true {
      var wanted: [(text: Int, position: Int, row: Int)] = []
      for _ in 0..<Int.random(in: 1...90, using: &random) {
        let open = texts.indices.filter { engine.length(sequences[$0]) < texts[$0].count }
        guard let text = open.randomElement(using: &random) else { break }
        let position = engine.length(sequences[text])
        try engine.append(texts[text][position], to: sequences[text])
        switch Int.random(in: 0..<6, using: &random) {
        case 0: _ = engine.wantHeadVector(headID)
        case 1: _ = engine.wantHeadValue(scalar)
        case 2: _ = engine.wantLogProbability(of: 5)
        case 3: break
        default: wanted.append((text, position, engine.wantLogits()))
        }
      }
      try engine.run(cancel: rig.cancel)
      for (text, position, row) in wanted { rows[text][position] = rig.row(row) }
      if texts.indices.allSatisfy({ engine.length(sequences[$0]) == texts[$0].count }) { break }
    }
    var compared = 0
    for text in texts.indices {
      for (position, row) in rows[text].enumerated() {
        guard let row else { continue }
        compared += 1
        #expect(bits(row) == bits(alone[text][position]), "sequence \(text), token \(position)")
      }
    }
    #expect(compared > 20)
  }

  /// An adapter beside rows without one leaves those rows alone, whatever the order.
  @Test func outputsDoNotDisturbEachOther() throws {
    let rig = try Rig(threads: 2)
    let head = rig.engine.register(try rig.head("tiny-value-vocabulary.gguf"))
    let text = tokens(40, seed: 5)
    let expected = try rig.fresh(text)
    let sequence = rig.engine.makeSequence()
    var first: [Int] = []
    var second: [Int] = []
    var vectors: [Int] = []
    for token in text {
      try rig.engine.append(token, to: sequence)
      first.append(rig.engine.wantLogits())
      _ = rig.engine.wantLogProbability(of: 7)
      vectors.append(rig.engine.wantHeadVector(head))
      _ = rig.engine.wantHeadValue(head, token: 9)
      second.append(rig.engine.wantLogits())
    }
    try rig.engine.run(cancel: rig.cancel)
    #expect(bits(first.map { rig.row($0) }) == bits(expected))
    #expect(bits(second.map { rig.row($0) }) == bits(expected))
    #expect(bits(vectors.map { rig.row($0) }) != bits(expected))
  }

  /// Log-probabilities are logits less their log-sum-exp; more of them than the scratch holds.
  @Test(arguments: ["tiny-llama.gguf", "tiny-llama-q8_0.gguf"], [1, 3])
  func logProbabilities(file: String, threads: Int) throws {
    let rig = try Rig(file, threads: threads)
    let text = tokens(80, seed: 6)
    let logits = try rig.fresh(text)
    let sequence = rig.engine.makeSequence()
    var slots: [[Int]] = []
    for (position, token) in text.enumerated() {
      try rig.engine.append(token, to: sequence)
      slots.append(
        [Int32(position), 319, 0].prefix(1 + position % 3).map {
          rig.engine.wantLogProbability(of: $0)
        })
    }
    try rig.engine.run(cancel: rig.cancel)
    let kernels = Kernels.current
    for (position, slots) in slots.enumerated() {
      let row = logits[position]
      let total = kernels.table.pointee.log_sum_exp(row, row.count)
      for (token, slot) in zip([position, 319, 0], slots) {
        #expect(rig.engine.result(slot) == Double(row[token]) - total)
      }
    }
  }
}
