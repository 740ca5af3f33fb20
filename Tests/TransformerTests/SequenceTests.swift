import Tensor
import TestSupport
import Testing
import Transformer

/// Forking, truncating, limits and cancelling: whatever happens to a sequence, its tokens decide
/// what comes next.
@Suite struct SequenceTests {
  /// Inside a page, at its border, one past it, and in a later page.
  @Test(arguments: [1, 15, 16, 17, 32, 37], ["tiny-llama.gguf", "tiny-llama-q8_0.gguf"])
  func fork(at length: Int, file: String) throws {
    let rig = try Rig(file)
    let prompt = tokens(length, seed: 20)
    let ends = (0..<3).map { tokens(20, seed: 21 + UInt64($0)) }
    let expected = try ends.map { Array(try rig.fresh(prompt + $0).suffix(20)) }
    #expect(rig.engine.usedPages == 0)
    let first = rig.engine.makeSequence()
    _ = try rig.feed(prompt, to: first)
    let before = rig.engine.usedPages
    let forks = [first, rig.engine.makeSequence(), rig.engine.makeSequence()]
    for fork in forks.dropFirst() { rig.engine.copy(first, to: fork) }
    #expect(rig.engine.usedPages == before)
    var rows = [[[Float]]](repeating: [], count: 3)
    for step in 0..<20 {  // all three in one batch
      var wanted: [Int] = []
      for (fork, end) in zip(forks, ends) {
        try rig.engine.append(end[step], to: fork)
        wanted.append(rig.engine.wantLogits())
      }
      try rig.engine.run(cancel: rig.cancel)
      for (fork, row) in wanted.enumerated() { rows[fork].append(rig.row(row)) }
    }
    for fork in 0..<3 { #expect(bits(rows[fork]) == bits(expected[fork])) }
    for fork in forks { rig.engine.removeSequence(fork) }
    #expect(rig.engine.usedPages == 0)
  }

  /// A tree of forks that outlive their parents, with lengths, cuts and copies at random.
  @Test func forksAtRandom() throws {
    let rig = try Rig(context: 64, pages: 60)
    var random = RandomNumbers(seed: 30)
    var texts = [[Int32]](repeating: [], count: 8)
    let sequences = texts.map { _ in rig.engine.makeSequence() }
    for _ in 0..<300 {
      let at = Int.random(in: 0..<8, using: &random)
      let from = Int.random(in: 0..<8, using: &random)
      switch Int.random(in: 0..<4, using: &random) {
      case 0:
        rig.engine.copy(sequences[from], to: sequences[at])
        texts[at] = texts[from]
      case 1:
        let length = Int.random(in: 0...texts[at].count, using: &random)
        rig.engine.truncate(sequences[at], to: length)
        texts[at].removeSubrange(length...)
      default:
        let room = 64 - texts[at].count
        guard room > 0 else { continue }
        let more = tokens(Int.random(in: 1...min(room, 9), using: &random), seed: random.next())
        let row = try rig.feed(more, to: sequences[at]).last!
        texts[at] += more
        #expect(try bits(row) == bits(rig.fresh(texts[at]).last!))
      }
      #expect(rig.engine.length(sequences[at]) == texts[at].count)
    }
    for sequence in sequences { rig.engine.removeSequence(sequence) }
    #expect(rig.engine.usedPages == 0)
    #expect(rig.engine.residentBytes <= 60 * Engine.pageBytes(rig.trunk))
  }

  @Test(arguments: [0, 1, 15, 16, 17, 30])
  func truncate(to length: Int) throws {
    let rig = try Rig()
    let text = tokens(31, seed: 40)
    let end = tokens(10, seed: 41)
    let expected = try rig.fresh(Array(text.prefix(length)) + end).suffix(10)
    let sequence = rig.engine.makeSequence()
    _ = try rig.feed(text, to: sequence)
    rig.engine.truncate(sequence, to: length)
    #expect(rig.engine.length(sequence) == length)
    #expect(rig.engine.usedPages == (length + 15) / 16)
    #expect(bits(try rig.feed(end, to: sequence)) == bits(expected))
    rig.engine.removeSequence(sequence)
    #expect(rig.engine.usedPages == 0)
  }

  /// A fork keeps the adapter; a recycled slot does not.
  @Test func adapterFollowsTheCopy() throws {
    let rig = try Rig()
    let adapter = try rig.adapter()
    let text = tokens(20, seed: 42)
    let adapted = try rig.fresh(text, adapter: adapter)
    let plain = try rig.fresh(text)
    let first = rig.engine.makeSequence(adapter: adapter)
    _ = try rig.feed(Array(text.prefix(10)), to: first)
    let second = rig.engine.makeSequence()
    rig.engine.copy(first, to: second)
    #expect(
      try bits(rig.feed(Array(text.suffix(10)), to: second)) == bits(adapted.suffix(10)))
    rig.engine.removeSequence(first)
    rig.engine.removeSequence(second)
    #expect(bits(try rig.fresh(text)) == bits(plain))
  }

  @Test func pageLimit() throws {
    let rig = try Rig(pages: 3)
    let first = rig.engine.makeSequence()
    let second = rig.engine.makeSequence()
    let prompt = tokens(20, seed: 50)
    let more = tokens(3, seed: 51)
    _ = try rig.feed(prompt, to: first)
    rig.engine.copy(first, to: second)  // 2 pages, shared
    try rig.engine.append(5, to: second)  // a copy of the second: 3 pages
    _ = rig.engine.wantLogits()
    let error = failure {
      for token in tokens(40, seed: 52) { try rig.engine.append(token, to: first) }
    }
    #expect(error?.kind == .outOfMemory)
    #expect(error?.message.contains("3 pages") == true)
    #expect(rig.engine.length(first) == 20 && rig.engine.length(second) == 20)
    rig.engine.removeSequence(second)
    #expect(rig.engine.usedPages == 2)
    let rows = try rig.feed(more, to: first)
    rig.engine.removeSequence(first)
    #expect(bits(rows) == bits(try rig.fresh(prompt + more).suffix(3)))
    #expect(rig.engine.usedPages == 0)
  }

  @Test func contextFull() throws {
    let rig = try Rig(context: 20)
    let sequence = rig.engine.makeSequence()
    let text = tokens(20, seed: 60)
    _ = try rig.feed(Array(text.prefix(18)), to: sequence)
    let error = failure {
      for token in text.prefix(3) { try rig.engine.append(token, to: sequence) }
    }
    #expect(error?.kind == .contextFull)
    #expect(error?.message.contains("20") == true)
    #expect(rig.engine.length(sequence) == 18)
    let rows = try rig.feed(Array(text.suffix(2)), to: sequence)
    #expect(bits(rows) == bits(try rig.fresh(text).suffix(2)))
  }

  @Test(arguments: [-1, 320, Int32.max])
  func tokenOutsideTheVocabulary(token: Int32) throws {
    let rig = try Rig()
    let sequence = rig.engine.makeSequence()
    try rig.engine.append(3, to: sequence)
    let error = failure { try rig.engine.append(token, to: sequence) }
    #expect(error?.kind == .invalidArgument)
    #expect(error?.message.contains("\(token)") == true)
    #expect(rig.engine.length(sequence) == 0 && rig.engine.usedPages == 0)
  }

  /// Dropping a queued batch takes it back; after a run there is nothing to drop.
  @Test func drop() throws {
    let rig = try Rig()
    let sequence = rig.engine.makeSequence()
    let text = tokens(30, seed: 61)
    let expected = try rig.fresh(text)
    _ = try rig.feed(Array(text.prefix(20)), to: sequence)
    rig.engine.drop()
    #expect(rig.engine.length(sequence) == 20)
    try rig.engine.append(9, to: sequence)
    _ = rig.engine.wantLogits()
    rig.engine.drop()
    #expect(rig.engine.length(sequence) == 20)
    let rows = try rig.feed(Array(text.suffix(10)), to: sequence)
    #expect(bits(rows) == bits(expected.suffix(10)))
  }

  @Test(arguments: [1, 2])
  func cancelledBefore(threads: Int) throws {
    let rig = try Rig(threads: threads)
    let text = tokens(30, seed: 70)
    let expected = try rig.fresh(text)
    let sequence = rig.engine.makeSequence()
    _ = try rig.feed(Array(text.prefix(10)), to: sequence)
    rig.cancel.raise()
    let error = failure { _ = try rig.feed(Array(text.suffix(20)), to: sequence) }
    #expect(error?.kind == .cancelled)
    #expect(rig.engine.length(sequence) == 10 && rig.engine.usedPages == 1)
    #expect(rig.cancel.take() && !rig.cancel.take())
    let rows = try rig.feed(Array(text.suffix(20)), to: sequence)
    #expect(bits(rows) == bits(expected.suffix(20)))
  }

  /// Raised from another thread at some moment of a long run; sequences that share pages included.
  @Test(arguments: [1, 2], [200, 1000, 3000])
  func cancelledDuring(threads: Int, microseconds: UInt32) throws {
    let rig = try Rig(threads: threads, context: 4096, pages: 1024, rows: 20)
    let text = tokens(3000, seed: 71)
    let sequence = rig.engine.makeSequence()
    let fork = rig.engine.makeSequence()
    _ = try rig.feed(Array(text.prefix(10)), to: sequence)
    rig.engine.copy(sequence, to: fork)
    let timer = Timer(after: microseconds) { [cancel = rig.cancel] in cancel.raise() }
    let error = failure {
      for token in text.dropFirst(10) { try rig.engine.append(token, to: sequence) }
      try rig.engine.append(5, to: fork)
      try rig.engine.run(cancel: rig.cancel)
    }
    timer.join()
    #expect(error?.kind == .cancelled)
    #expect(rig.engine.length(sequence) == 10 && rig.engine.length(fork) == 10)
    _ = rig.cancel.take()
    for id in [sequence, fork] {
      let rows = try rig.feed(Array(text[10..<20]), to: id)
      #expect(bits(rows) == bits(Array(try rig.fresh(Array(text.prefix(20))).suffix(10))))
    }
    rig.engine.removeSequence(sequence)
    rig.engine.removeSequence(fork)
    #expect(rig.engine.usedPages == 0)
  }

  /// What an engine takes is announced beforehand.
  @Test func sizes() throws {
    let rig = try Rig(pages: 7)
    #expect(Engine.tokensPerPage == 16)
    #expect(Engine.pageBytes(rig.trunk) == 2 * 2 * 16 * 16 * 2 * 4)
    #expect(rig.engine.pageLimit == 7 && rig.engine.contextLength == 256)
    let fixed = Engine.fixedBytes(
      trunk: rig.trunk, threadCount: 2, contextLength: 256, sequences: 4, logitRows: 3)
    #expect(fixed > 0 && fixed < 1 << 20)
    let error = failure {
      _ = try Engine(
        trunk: rig.trunk, team: ThreadTeam(threadCount: 1), contextLength: 256, pageLimit: .max)
    }
    #expect(error?.kind == .outOfMemory)
  }
}
