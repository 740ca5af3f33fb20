import Glibc
import Tensor
import TestSupport
import Testing
import Training

@Suite(.serialized) struct DataFileTests {
  let temporary = TemporaryData()

  private func line(_ index: Int) -> String { #"{"prompt":"p\#(index)","completion":"c"}"# }

  private func prompts(_ file: DataFile) throws -> [String] {
    try (0..<file.count).map { String(decoding: try file.example(at: $0).prompt, as: UTF8.self) }
  }

  @Test(arguments: ["\n", "\r\n", "\n\n", "\n \t\r\n\r\n"], ["", "\n", "\r\n", "\n\n"])
  func lineEnds(end: String, last: String) throws {
    for mark in ["", "\u{FEFF}"] {
      let file = try temporary.open(mark + (0..<5).map(line).joined(separator: end) + last)
      #expect(try prompts(file) == ["p0", "p1", "p2", "p3", "p4"])
      #expect(file.problemCount == 0 && file.problems.isEmpty)
    }
  }

  @Test(arguments: ["", "\n", "\r\n", "  \n\t\n", "\u{FEFF}", "\u{FEFF}\n"])
  func nothingInIt(text: String) throws {
    let file = try temporary.open(text)
    #expect(file.count == 0 && file.problemCount == 0)
    expectError(.invalidArgument, "no example 0 among 0") { () throws(IVGError) in
      try file.example(at: 0)
    }
  }

  @Test func problemsHaveTheirLines() throws {
    let bad: [(Int, String, String)] = [
      (2, "not json", "column 1: 'n' is no value"),
      (4, #"{"prompt":"p"}"#, "\"completion\" is missing"),
      (5, "{\"text\":\"a\0b\"}", "column 11: byte 0x00"),
      (9, "\0\0\0", "column 1: byte 0x00 is no value"),
      (12, #"{"text":"x"} {"text":"y"}"#, "column 14"),
      (13, "\u{FEFF}{\"text\":\"x\"}", "column 1: byte 0xef"),
      (15, #"{"text":"cut"#, "column 9: a string has no end"),
    ]
    var lines = (0..<15).map(line)
    for (number, text, _) in bad { lines[number - 1] = text }
    lines[6] = ""
    for end in ["\n", "\r\n"] {
      let file = try temporary.open(lines.joined(separator: end))
      #expect(file.problems.map(\.line) == bad.map(\.0) && file.problemCount == bad.count)
      for (problem, (_, _, words)) in zip(file.problems, bad) {
        #expect(problem.reason.contains(words), "\(problem)")
      }
      #expect(try prompts(file) == ["p0", "p2", "p5", "p7", "p9", "p10", "p13"])
    }
  }

  @Test func firstThousandProblems() throws {
    let file = try temporary.open(String(repeating: "x\n", count: 2500) + line(7))
    #expect(file.problemCount == 2500 && file.problems.count == 1000)
    #expect(file.problems.map(\.line) == Array(1...1000))
    #expect(try prompts(file) == ["p7"])
  }

  @Test func garbage() throws {
    var random = RandomNumbers(seed: 7)
    for _ in 0..<20 {
      let bytes = (0..<10_000).map { _ in UInt8.random(in: 0...255, using: &random) }
      temporary.fill(bytes)
      let file = try DataFile(path: temporary.path, reader: reader(.completion))
      let lines = bytes.split(separator: 0x0A).filter {
        !$0.allSatisfy { [9, 13, 32].contains($0) }
      }
      #expect(file.count == 0 && file.problemCount == lines.count)
    }
    // UTF-16, a common mistake.
    temporary.fill([0xFF, 0xFE] + Array(line(1).utf8).flatMap { [$0, 0] })
    let file = try DataFile(path: temporary.path, reader: reader(.completion))
    #expect(file.count == 0 && file.problems.map(\.line) == [1])
  }

  /// Lines of every length around the size of a block, and around the limit.
  @Test func longLines() throws {
    func text(_ length: Int) -> String {
      #"{"text":""# + String(repeating: "x", count: length - 11) + #""}"#
    }
    let limit = 1 << 24
    let block = 1 << 20
    let lengths = [block - 2, block - 1, block, block + 1, 20, limit, 30, limit + 1, 20 << 20, 40]
    let lines = lengths.map(text)
    let file = try temporary.open(lines.joined(separator: "\n"))
    #expect(file.problems.map(\.line) == [8, 9] && file.problemCount == 2)
    for problem in file.problems {
      #expect(problem.reason == "the line is longer than 16777216 bytes")
    }
    #expect(file.count == 8)
    for (index, length) in lengths.filter({ $0 <= limit }).enumerated() {
      let example = try file.example(at: index)
      #expect(
        example.answer == .completion([UInt8](repeating: 0x78, count: length - 11), reward: nil))
    }
    // The last line is the long one, with and without an end.
    for end in ["", "\n", "\r\n"] {
      let file = try temporary.open(text(30) + "\n" + text(20 << 20) + end)
      #expect(file.count == 1 && file.problems.map(\.line) == [2])
    }
  }

  /// Far more bytes than memory is taken for. In a process of its own, whose memory no other test takes.
  @Test func manyLines() async {
    await #expect(processExitsWith: .success) {
      let temporary = TemporaryData()
      let count = 200_000
      let tail = String(repeating: "word ", count: 80)
      var bytes: [UInt8] = []
      let file = fopen(temporary.path, "w")
      for index in 0..<count {
        bytes += "{\"prompt\":\"p\(index)\",\"completion\":\"\(index) \\u00e9 \(tail)\"}\n".utf8
        if index % 1000 == 7 { bytes += "{\"prompt\":\"bad\"}\n".utf8 }
        if bytes.count > 1 << 20 || index == count - 1 {
          fwrite(bytes, 1, bytes.count, file)
          bytes.removeAll(keepingCapacity: true)
        }
      }
      fclose(file)
      bytes = []
      let (data, memory, seconds) = try scan(temporary.path)
      #expect(isSanitized || memory < 80_000, "\(memory) KiB")
      #expect(seconds < 30, "\(seconds) s")
      #expect(data.count == count && data.problemCount == count / 1000)
      for (number, problem) in data.problems.enumerated() {
        // Line index + 2, and one more for every bad line before it.
        #expect(problem.line == number * 1000 + 7 + 2 + number)
      }
      let order = ShuffledOrder(count: count, seed: 1, epoch: 0)
      for position in 0..<1000 {
        let index = order[position]
        #expect(try data.example(at: index).prompt == Array("p\(index)".utf8))
      }
    }
  }

  /// 256 MiB that are one line, of which the disk holds nothing, and a line behind it.
  @Test func endlessLine() async {
    await #expect(processExitsWith: .success) {
      let temporary = TemporaryData()
      let size = 1 << 28
      temporary.fill("")
      guard truncate(temporary.path, size) == 0 else { return }  // a file system without holes
      let descriptor = open(temporary.path, O_WRONLY | O_CLOEXEC)
      let end = Array("\n{\"prompt\":\"p\",\"completion\":\"c\"}\n".utf8)
      pwrite(descriptor, end, end.count, size)
      close(descriptor)
      let (file, memory, _) = try scan(temporary.path)
      #expect(isSanitized || memory < 150_000, "\(memory) KiB")
      #expect(file.problems.map(\.line) == [1])
      #expect(try file.example(at: 0).prompt == Array("p".utf8) && file.count == 1)
    }
  }

  @Test func fingerprints() throws {
    let reader = reader(.completion)
    let text = (0..<100).map(line).joined(separator: "\n")
    let fingerprint = try temporary.open(text).fingerprint
    #expect(try temporary.open(text).fingerprint == fingerprint)
    #expect(fingerprint == 8_773_516_863_285_614_693, "checkpoints keep it")
    var others: Set<UInt64> = [fingerprint]
    let bytes = Array(text.utf8)
    for position in bytes.indices {
      var other = bytes
      other[position] ^= 1
      temporary.fill(other)
      others.insert(try DataFile(path: temporary.path, reader: reader).fingerprint)
    }
    #expect(others.count == bytes.count + 1)
    for other in ["", "\0", "\0\0", text + "\n", text + "\0", String(text.dropLast())] {
      #expect(others.insert(try temporary.open(other).fingerprint).inserted)
    }
  }

  @Test func changesAreNoticed() throws {
    let text = (0..<4).map(line).joined(separator: "\n")
    // In place, with the same length and, as far as the system lets us, the same time.
    var file = try temporary.open(text)
    var status = stat()
    stat(temporary.path, &status)
    temporary.fill(text.replacing("p2", with: "q2"))
    var times = [status.st_atim, status.st_mtim]
    utimensat(AT_FDCWD, temporary.path, &times, 0)
    #expect(try file.example(at: 1).prompt == Array("p1".utf8))
    expectError(.mismatch, temporary.path, "has changed") { () throws(IVGError) in
      try file.example(at: 2)
    }
    // Longer, shorter, touched.
    for change in [text + "\n", "", String(text.dropLast(20))] {
      file = try temporary.open(text)
      temporary.fill(change)
      expectError(.mismatch, "has changed") { () throws(IVGError) in try file.example(at: 0) }
    }
    file = try temporary.open(text)
    times[1].tv_sec += 1
    utimensat(AT_FDCWD, temporary.path, &times, 0)
    expectError(.mismatch, "has changed") { () throws(IVGError) in try file.example(at: 0) }
    // While it is scanned.
    temporary.fill(String(repeating: text + "\n", count: 20_000))
    var calls = 0
    expectError(.mismatch, "has changed") { () throws(IVGError) in
      try DataFile(path: temporary.path, reader: reader(.completion)) {
        calls += 1
        if calls == 2 { truncate(temporary.path, 100) }
        return false
      }
    }
    // Removed or renamed over: the file that was opened is still there.
    file = try temporary.open(text)
    let other = temporary.folder + "/other.jsonl"
    rename(temporary.path, other)
    temporary.fill("x")
    #expect(try file.example(at: 3).prompt == Array("p3".utf8))
    unlink(other)
    #expect(try file.example(at: 3).prompt == Array("p3".utf8))
  }

  @Test func whatIsNoFile() {
    for path in [temporary.path, "/no/such/folder/x", "", "a\0b", "/dev/null/x"] {
      expectError(.notFound) { () throws(IVGError) in
        try DataFile(path: path, reader: reader(.completion))
      }
    }
    mkfifo(temporary.path, 0o600)
    for path in [temporary.folder, temporary.path, "/dev/null", "/dev/zero"] {
      expectError(.io, path, "not a regular file") { () throws(IVGError) in
        try DataFile(path: path, reader: reader(.completion))
      }
    }
    unlink(temporary.path)
    temporary.fill("x")
    chmod(temporary.path, 0)
    expectError(.io, "/proc/self/mem", "cannot read") { () throws(IVGError) in
      try DataFile(path: "/proc/self/mem", reader: reader(.completion))
    }
    guard geteuid() != 0 else {
      print("skipped the file without permission: root can read everything")
      return
    }
    expectError(.io, temporary.path, "cannot open") { () throws(IVGError) in
      try DataFile(path: temporary.path, reader: reader(.completion))
    }
  }

  @Test func indicesOutOfRange() throws {
    let file = try temporary.open(line(0))
    for index in [-1, 1, .min, .max] {
      expectError(.invalidArgument, "no example") { () throws(IVGError) in
        try file.example(at: index)
      }
    }
  }

  @Test func cancelling() throws {
    temporary.fill(String(repeating: line(0) + "\n", count: 200_000))
    var calls = 0
    expectError(.cancelled, temporary.path) { () throws(IVGError) in
      try DataFile(path: temporary.path, reader: reader(.completion)) {
        calls += 1
        return calls == 3
      }
    }
    #expect(calls == 3)
  }

  /// Nothing stays open, whatever happens.
  @Test func descriptors() throws {
    func highest() -> Int32 {
      let descriptor = open("/dev/null", O_RDONLY)
      close(descriptor)
      return descriptor
    }
    temporary.fill(line(0))
    let before = highest()
    for _ in 0..<200 {
      _ = try DataFile(path: temporary.path, reader: reader(.completion))
      _ = try? DataFile(path: temporary.folder, reader: reader(.completion))
      _ = try? DataFile(path: temporary.path, reader: reader(.completion)) { true }
    }
    #expect(highest() < before + 50)
  }

  @Test func fromManyThreads() async throws {
    let file = try temporary.open((0..<1000).map(line).joined(separator: "\n"))
    await withTaskGroup(of: Bool.self) { group in
      for seed in 0..<8 as Range<UInt64> {
        group.addTask {
          let order = ShuffledOrder(count: 1000, seed: seed, epoch: 0)
          return (0..<1000).allSatisfy {
            (try? file.example(at: order[$0]))?.prompt == Array("p\(order[$0])".utf8)
          }
        }
      }
      for await isRight in group { #expect(isRight) }
    }
  }

  /// 3,000 damaged files: every line is an example or a problem, and examples are read again.
  @Test func randomMutations() throws {
    var random = RandomNumbers(seed: 8)
    let lines = [
      #"{"prompt":"p","chosen":"a","rejected":"b"}"#, #"{"text":"\u00e9"}"#, "",
      #"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}"#,
    ]
    let seed = Array((lines + lines).joined(separator: "\r\n").utf8)
    let reader = reader(.completion)
    var examples = 0
    for round in 0..<3000 {
      var bytes = seed
      for _ in 0...round % 4 {
        let position = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes[position] = UInt8.random(in: 0...255, using: &random)
        case 1:
          bytes[position] = [0x0A, 0x0D, 0x22, 0x5C, 0x7B, 0x5D].randomElement(using: &random)!
        case 2: bytes.removeSubrange(position..<min(position + 9, bytes.count))
        default: bytes.insert(contentsOf: bytes[..<(position / 4)], at: position)
        }
      }
      temporary.fill(bytes)
      let file = try DataFile(path: temporary.path, reader: reader)
      let blank: Set<UInt8> = [9, 13, 32]
      let filled = bytes.split(separator: 0x0A).filter { !blank.isSuperset(of: $0) }.count
      #expect(file.count + file.problemCount == filled)
      for index in 0..<file.count { _ = try file.example(at: index) }
      examples += file.count
    }
    #expect(examples > 5000)
  }
}

/// Opens a data file and says by how many KiB the process grew meanwhile, and how long it computed.
private func scan(_ path: String) throws -> (file: DataFile, memory: Int, seconds: Double) {
  let before = memory("VmRSS")
  var most = before
  var file: DataFile?
  let seconds = try processorTime {
    file = try DataFile(path: path, reader: reader(.completion)) {
      most = max(most, memory("VmRSS"))
      return false
    }
  }
  try #require(before > 0 && most > before)
  return (try #require(file), most - before, seconds)
}
