"""What a fresh HOME holds: settings that keep applications from asking questions and from blinking. It knows no task."""

from pathlib import Path

FOLDERS = (".tmp", ".run", "Documents")
PROGRAMS = ".bin"  # first on PATH
_FILES = {
    # LibreOffice looks its user up in /etc/passwd, where ours is not, and gives up; told a folder, it does not ask
    ".bin/soffice": '#!/bin/sh\nexec /usr/bin/soffice "-env:UserInstallation=file://$HOME/.config/libreoffice/4" "$@"\n',
    ".bashrc": "PS1='user@desktop:\\w$ '\nPROMPT_COMMAND=\nHISTFILE=\n",
    # a still caret: two screenshots of one state are the same
    ".config/gtk-3.0/settings.ini": "[Settings]\ngtk-cursor-blink=0\ngtk-enable-animations=0\ngtk-recent-files-enabled=0\n",
    ".gtkrc-2.0": "gtk-cursor-blink=0\n",
    # no menu on the root window, which would offer to end the window manager; alt+F4 and a click that raises is all there is
    ".config/openbox/rc.xml": """<?xml version="1.0" encoding="UTF-8"?>
<openbox_config xmlns="http://openbox.org/3.4/rc">
  <focus><focusNew>yes</focusNew><focusLast>yes</focusLast></focus>
  <placement><policy>Smart</policy><center>yes</center></placement>
  <theme><name>Clearlooks</name><titleLayout>NLIMC</titleLayout><animateIconify>no</animateIconify></theme>
  <desktops><number>1</number><popupTime>0</popupTime></desktops>
  <keyboard>
    <keybind key="A-F4"><action name="Close"/></keybind>
    <keybind key="A-Tab"><action name="NextWindow"/></keybind>
  </keyboard>
  <mouse>
    <context name="Titlebar">
      <mousebind button="Left" action="Press"><action name="Focus"/><action name="Raise"/></mousebind>
      <mousebind button="Left" action="Drag"><action name="Move"/></mousebind>
      <mousebind button="Left" action="DoubleClick"><action name="ToggleMaximize"/></mousebind>
    </context>
    <context name="Client">
      <mousebind button="Left" action="Press"><action name="Focus"/><action name="Raise"/></mousebind>
      <mousebind button="Right" action="Press"><action name="Focus"/><action name="Raise"/></mousebind>
    </context>
    <context name="Close"><mousebind button="Left" action="Click"><action name="Close"/></mousebind></context>
    <context name="Maximize">
      <mousebind button="Left" action="Click"><action name="ToggleMaximize"/></mousebind>
    </context>
    <context name="Iconify"><mousebind button="Left" action="Click"><action name="Iconify"/></mousebind></context>
  </mouse>
  <applications><application type="normal"><focus>yes</focus></application></applications>
</openbox_config>
""",
    # LibreOffice: no tip of the day, no news, no question about a format that is not its own
    ".config/libreoffice/4/user/registrymodifications.xcu": """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry" xmlns:xs="http://www.w3.org/2001/XMLSchema"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<item oor:path="/org.openoffice.Office.Common/Misc"><prop oor:name="ShowTipOfTheDay" oor:op="fuse"><value>false</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Misc"><prop oor:name="FirstRun" oor:op="fuse"><value>false</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Save/Document"><prop oor:name="WarnAlienFormat" oor:op="fuse"><value>false</value>
</prop></item>
</oor:items>
""",
}


def furnish(home: Path) -> None:
    """Makes the folder and what it holds; nobody else may look into it."""
    home.mkdir(mode=0o700, parents=True)
    for name in FOLDERS:
        (home / name).mkdir(mode=0o700)
    for name, text in _FILES.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755 if name.startswith(PROGRAMS) else 0o644)
