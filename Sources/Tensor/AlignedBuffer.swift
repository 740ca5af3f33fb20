import Glibc

/// Memory for `count` elements, aligned to 64 bytes and owned by this object.
///
/// Large buffers are mapped: they cost nothing until they are written, and go back to the system at
/// once, where the allocator would keep some of them.
///
/// Running out of memory is an error here, never the end of the process. The contents follow no
/// rule of exclusive access: threads that share a buffer must write to disjoint parts.
package final class AlignedBuffer<Element: BitwiseCopyable>: @unchecked Sendable {
  /// The first element. Valid while this object lives.
  package let pointer: UnsafeMutablePointer<Element>
  /// Elements that fit.
  package let count: Int
  private let bytes: Int

  /// Zeroed memory for `count` elements; throws `.outOfMemory` if there is none, or if the size in
  /// bytes is no representable number.
  package init(count: Int) throws(IVGError) {
    let (bytes, overflow) = count.multipliedReportingOverflow(by: MemoryLayout<Element>.stride)
    guard count >= 0, !overflow, bytes <= Int.max - 64 else {
      throw IVGError(.outOfMemory, "a buffer of \(count) elements is larger than the address space")
    }
    // A whole number of cache lines, so that no two buffers share one.
    let whole = max(64, (bytes + 63) / 64 * 64)
    guard let memory = whole < Self.mappedBytes ? Self.allocated(whole) : Self.mapped(whole) else {
      throw IVGError(.outOfMemory, "\(whole) bytes of memory are not to be had")
    }
    self.pointer = memory.bindMemory(to: Element.self, capacity: count)
    self.count = count
    self.bytes = whole
  }

  /// Buffers of this many bytes are mapped.
  private static var mappedBytes: Int { 1 << 17 }

  private static func allocated(_ bytes: Int) -> UnsafeMutableRawPointer? {
    var memory: UnsafeMutableRawPointer?
    guard posix_memalign(&memory, 64, bytes) == 0, let memory else { return nil }
    memset(memory, 0, bytes)
    return memory
  }

  private static func mapped(_ bytes: Int) -> UnsafeMutableRawPointer? {
    let memory = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    return memory == MAP_FAILED ? nil : memory
  }

  deinit {
    if bytes < Self.mappedBytes { free(pointer) } else { munmap(pointer, bytes) }
  }

  /// All elements.
  package var elements: UnsafeMutableBufferPointer<Element> {
    UnsafeMutableBufferPointer(start: pointer, count: count)
  }

  /// One element; `index` must be less than `count`.
  package subscript(index: Int) -> Element {
    get {
      precondition(index >= 0 && index < count)
      return pointer[index]
    }
    set {
      precondition(index >= 0 && index < count)
      pointer[index] = newValue
    }
  }
}
