#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the recordings in this folder anew with ffmpeg: 1.5 s of a 440 Hz tone that ffmpeg itself generates.
set -eu
cd "$(dirname "$0")"
tone() { ffmpeg -y -loglevel error -f lavfi -i sine=frequency=440:sample_rate=16000:duration=1.5 -ac 1 "$@"; }
tone -ar 2000 -c:a pcm_u8 pcm.wav
tone -ar 1000 -c:a pcm_s24le extensible.wav
tone -ar 2000 -c:a pcm_u8 -rf64 always rf64.wav
tone -ar 2000 -c:a pcm_u8 -f wav pipe:1 | cat >stream.wav
tone -ar 8000 -c:a adpcm_ima_wav adpcm.wav
tone -ar 16000 -b:a 16k cbr.mp3
tone -ar 16000 -q:a 9 vbr.mp3
tone -ar 16000 -b:a 16k -write_xing 0 -id3v2_version 0 bare.mp3
tone -ar 44100 -b:a 32k -write_xing 0 -write_id3v1 1 -metadata title=tone tags.mp3
tone -ar 16000 -b:a 32k -c:a mp2 -f mp2 layer2.mpga
tone -ar 16000 -b:a 16k -c:a aac plain.m4a
tone -ar 16000 -b:a 16k -c:a aac -movflags +faststart faststart.mp4
tone -ar 16000 -b:a 16k -c:a aac -movflags +frag_keyframe+empty_moov -frag_duration 500000 fragmented.mp4
tone -ar 16000 -b:a 16k -c:a aac -movflags +frag_keyframe+empty_moov+dash+global_sidx -frag_duration 500000 sidx.mp4
tone -ar 16000 -b:a 16k -c:a aac adts.aac
tone -b:a 12k -c:a libopus opus.ogg
tone -ar 16000 -b:a 16k -c:a libvorbis vorbis.ogg
tone -ar 8000 -c:a flac flac.oga
tone -ar 8000 -c:a flac plain.flac
tone -b:a 12k -c:a libopus duration.webm
tone -b:a 12k -c:a libopus -f webm pipe:1 | cat >live.webm
tone -ar 16000 -b:a 32k -c:a mp2 -f mpeg stream.mpeg
