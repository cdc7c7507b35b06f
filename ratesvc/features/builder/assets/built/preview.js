(()=>{const{code:e,ground:t}=frameElement?.dataset||{};e&&(document.documentElement.className=t,document.write(e))})();
