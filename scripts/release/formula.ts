/** The Homebrew formula for a tap: single binaries, one per machine, pinned by hash. */
import { binaryName, type Target } from "./targets.ts"

export interface FormulaParts {
  /** Version of the release, without a leading v */
  version: string
  /** One line on what the program is for */
  description: string
  /** Address of the project */
  homepage: string
  /** Address of the folder that holds the release's files, without a slash at its end */
  baseUrl: string
  /** SPDX identifier */
  license: string
  /** SHA-256 of each binary in hexadecimal, by file name */
  sums: Readonly<Record<string, string>>
}

/** Throws an Error when a binary that Homebrew could ask for has no sum. */
export function formulaText(parts: FormulaParts): string {
  // Homebrew on Linux brings a glibc of its own, so the musl binaries have no place here.
  const binary = (os: Target["os"], arch: Target["arch"]) => {
    const name = binaryName({ os, arch })
    const sum = parts.sums[name]
    if (sum === undefined) throw new Error(`no checksum of ${name} for the formula`)
    return `      url ${ruby(`${parts.baseUrl}/${name}`)}
      sha256 ${ruby(sum)}`
  }
  const system = (os: Target["os"]) => `    on_arm do
${binary(os, "arm64")}
    end
    on_intel do
${binary(os, "x64")}
    end`
  return `class Bottle < Formula
  desc ${ruby(parts.description)}
  homepage ${ruby(parts.homepage)}
  version ${ruby(parts.version)}
  license ${ruby(parts.license)}

  on_macos do
${system("darwin")}
  end

  on_linux do
${system("linux")}
    depends_on "bubblewrap" => :recommended
  end

  def install
    bin.install Dir["bottle-*"].first => "bottle"
  end

  test do
    assert_equal version.to_s, shell_output("#{bin}/bottle --version").strip
  end
end
`
}

/** A string literal of Ruby that means exactly this text: in double quotes \`#\` would start code. */
function ruby(text: string): string {
  return `"${text.replace(/[\\"#]/g, "\\$&")}"`
}
